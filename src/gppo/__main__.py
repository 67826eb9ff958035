"""``python -m gppo``, and so ``torchrun -m gppo``."""

from gppo.cli.main import main

main()
