"""How well a run shows views that it was not trained on: PSNR, SSIM, evaluation over a split."""
