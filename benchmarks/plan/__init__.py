"""`swiftsiam bench plan`: what more GPUs need than there are, from what one was measured at."""
