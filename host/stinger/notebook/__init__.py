"""What the notebooks in `notebooks/` need beside the library: Colab, a folder of their own, sliders, clean files."""
