"""What the ``--help`` of each command shows as an example."""

from __future__ import annotations

EXAMPLES = {
    "run": """\
  sjft run prototxt/flowers102/experiment.yaml --dry-run
  sjft run prototxt/flowers102/experiment.yaml
""",
    "report": """\
  sjft report runs/flowers102
""",
    "demo": """\
  sjft demo --seeds 5 --with-random
""",
    "convert": """\
  sjft convert folder photos/train data/target_train_lmdb --resize-shorter 256
  sjft convert list train.txt data/target_train_lmdb --root photos
  sjft convert imagenet /data/ilsvrc12 data/source_lmdb --split train \\
       --resize-shorter 256
""",
    "index": """\
  sjft index ilsvrc12_train_lmdb
""",
    "leaks": """\
  sjft leaks data/target_test_lmdb data/source_lmdb \\
       --out data/leaks.txt --sheet leaks.png
""",
    "fit-bins": """\
  sjft fit-bins data/target_train_lmdb data/bins.npz \\
       --weights bvlc_alexnet.caffemodel
  sjft fit-bins data/target_train_lmdb data/bins.npz --bank gabor
""",
    "retrieve": """\
  sjft retrieve data/target_train_lmdb data/source_lmdb data/neighbors_lmdb \\
       --bins-file data/bins.npz --weights bvlc_alexnet.caffemodel --k 1000
""",
    "merge": """\
  sjft merge data/neighbors_lmdb
""",
    "random-neighbours": """\
  sjft random-neighbours data/target_train_lmdb data/source_lmdb \\
       data/neighbors_random_lmdb --k 300 --images 200000
""",
    "neighbours": """\
  sjft neighbours data/neighbors_lmdb --figure neighbours.png
  sjft neighbours data/neighbors_lmdb --k0 50 100 200 --want 150000
""",
    "gallery": """\
  sjft gallery data/neighbors_lmdb gallery.png
""",
    "prototxt": """\
  sjft prototxt --out-dir my_nets --target-classes 15 --test-images 150
  sjft prototxt --out-dir my_nets --net resnet50 --target-classes 15 \\
       --test-images 150 --k0 100
""",
    "graft": """\
  sjft graft bvlc_googlenet/train_val.prototxt --out-dir my_nets \\
       --target-classes 15 --source-classes 1000 --test-images 150
""",
    "adapt": """\
  sjft adapt my_nets/sjft_solver.prototxt data/round2 --base-lr 0.001 \\
       --max-iter 6000 --stepsize 3000 --levels data/levels_2.json
""",
    "models": """\
  sjft models
  sjft models prototxt/nets/resnet50/sjft_train_val.prototxt \\
       ResNet-50-model.caffemodel
""",
    "view": """\
  sjft view prototxt/sjft_train_val.prototxt --draw net.svg
  sjft view --check my_nets/sjft_train_val.prototxt
""",
    "check": """\
  sjft check
  sjft check my_nets/sjft_solver.prototxt --gpu 0
""",
    "train": """\
  sjft train my_nets/sjft_solver.prototxt --weights resnet152.caffemodel \\
       --gpu 0 --resume

  The same command begins the training and, after any end, goes on with it.
""",
    "plot": """\
  sjft plot data/joint_train.csv --out curves.png
  sjft plot alone=data/alone_train.csv joint=part_1.log,part_2.log \\
       --out curves.svg curves.csv
""",
    "harden": """\
  sjft harden deploy.prototxt round1_iter_9000.caffemodel \\
       data/target_train_lmdb - data/levels_2.json --most 3
  sjft harden deploy.prototxt round2_iter_4000.caffemodel \\
       data/target_train_lmdb data/levels_2.json data/levels_3.json --most 3
""",
    "evaluate": """\
  sjft evaluate my_nets/sjft_deploy.prototxt \\
       my_nets/sjft_iter_20000.caffemodel data/target_test_lmdb
  sjft evaluate my_nets/sjft_deploy_dense.prototxt \\
       my_nets/sjft_iter_20000.caffemodel data/target_test_lmdb \\
       --crops dense --gpu 0 --scores scores.npz
""",
    "fuse": """\
  sjft fuse alexnet.npz gabor.npz
""",
    "import-original": """\
  sjft import-original source-images source_list.txt data/source_lmdb \\
       --root /data/images --resize 256
  sjft import-original neighbours nearest.txt data/target_train_lmdb \\
       data/source_lmdb data/neighbors_lmdb
""",
    "upgrade-prototxt": """\
  sjft upgrade-prototxt original.prototxt train_val.prototxt
""",
    "bundle": """\
  sjft bundle sjft-bundle.tar.xz
""",
}
