"""Run other picking programs, and exchange files with them."""
