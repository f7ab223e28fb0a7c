"""Generated pictures for the demo: `images` fills a folder, `motifs` draws."""
