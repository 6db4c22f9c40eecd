"""What a sweep may end in, as Hydra's callbacks: ``genlab train -m hydra/callbacks=table model=vae,realnvp``."""
