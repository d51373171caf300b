"""One file per area of the API. A route reads its input, makes one call, writes its answer; nothing else."""
