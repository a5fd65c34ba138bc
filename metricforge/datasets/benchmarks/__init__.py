"""The four benchmarks as their authors split them: CUB-200-2011, Cars196, Stanford Online Products, In-Shop."""
