"""The paper's laboratory: its tables as variants that run, with its figures beside ours."""
