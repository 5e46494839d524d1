"""From the authors' fork of Caffe to sjft: https://github.com/ZYYSzj/Selective-Joint-Fine-tuning."""
