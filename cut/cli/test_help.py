"""What `cut-test --help` says below its options."""

EXAMPLES = """\
examples:
  cut-test --run runs/quickstart --input datasets/earth2map/testA --output results/quickstart
  cut-test --checkpoint runs/quickstart/checkpoints/step_00003000.pt --input photo.jpg --output results
  cut-test --run runs/horse2zebra_cyclegan --direction BtoA --input zebras --output results/horses
  cut-test --run runs/quickstart --input film.mp4 --output out.mp4 --frames 0:250
  cut-test --run runs/horse2zebra_munit --input horses --num-outputs 3 --output results/zebras
  cut-test --run runs/mnist_dcgan --num-images 64 --seed 0 --output results/mnist_dcgan
  cut-test --run runs/glyphs_biggan --label all --num-images 8 --output results/glyphs_biggan
  cut-test --import horse2zebra_pretrained/latest_net_G.pth --input horses --output results/zebras
  cut-test --config configs/monet_etretat_strotss.yaml --input photo.jpg --guide painting.jpg --output results/strotss

Every picture of the folder, also of folders inside it, is translated at its own size and written under its own name;
16-bit pictures stay 16-bit; what is only read (GIF, AVIF, JPEG 2000, ...) becomes PNG. The network and its settings
come from the run. Beside the output folder a contact sheet OUTPUT_sheet.png shows some of them. Files that
cut-test did not write are not overwritten; a list beside OUTPUT, .cut-written-OUTPUT, says what it wrote.

--load-px N scales pictures before they are translated, as data.preprocess did in training: to N x N px
(resize_and_crop), to a width of N px (scale_width, scale_width_and_crop), else to a shorter side of N px; the
translation then has that size. --load-px 256x512 is a height and a width, where data.load_px is [256, 512]. Networks
know the scale that they have learnt, which is data.load_px of the run.

--mask keeps the input where a mask of the picture's name is black; gray mixes. A film (MP4, MOV, AVI, MKV, ...) is
translated frame by frame, into the file --output, or into a folder; its sound is left out.

--tile-px N cuts a picture that is larger than N px into tiles, for pictures that do not fit into memory, and gives what
the whole picture gives, without seams: norms take their statistics over all tiles before the first place behind them is
computed. It takes about 1.5 times as long (twice with bf16-mixed); some 4 GB of memory for 8192x8192 px and tiles of
512 px with base_channels 64; and room on the disk of --output for what is kept meanwhile: at most 4 bytes times
base_channels for each pixel, there 17 GB, or half of it with bf16-mixed. It refuses to start without that room.
ResNet, U-Net and StyleGAN2 generators can be cut; one that sees the whole picture at once, as attention does, cannot.

A method may need noise or the statistics of the picture at test time, as pix2pix does, or draw a style for each
picture, as MUNIT and DRIT do. What is drawn depends on --seed and on the picture's name alone: the same seed gives a
picture the same translation in any folder, another seed another one. Where noise or statistics are needed, pictures go
through one by one, whatever --batch-size says. --deterministic takes the mean style, and switches noise and the
picture's statistics off, which is often worse: running averages of batches of one picture fit no picture well.

--num-outputs 3 translates each picture with three random styles, --guide painting.jpg with the style of that picture.
--num-passes 3 sends each picture through UNSB's generator three times, instead of as often as method.num_passes says.

--import works the network out from the weights; no code in the file is run. What weights do not tell is the authors'
default or comes from --config: a U-Net has dropout 0.5, which pix2pix keeps on at test time. CycleGAN's
latest_net_G_A.pth translates A to B and latest_net_G_B.pth B to A. The authors' programs scale pictures to 256 px
before, which this one does not. cut-data convert writes what --checkpoint reads.

Gatys, STROTSS and WCT2 are not trained: --config names their YAML, whose pictures data.a and data.b are taken where
--input and --guide name no others. The sheet shows the pictures on their way, and is written again with each of them.

A method that makes images from noise (dcgan, biggan) takes no --input: it draws 00000.png, 00001.png and so on; the
same seed draws the same images, whatever the batch size and however many. Where there are classes (biggan), --label a
draws images of the class a, --label all as many of each class, 00000_a.png, 00000_b.png and so on from one latent, and
without --label the classes take turns.
"""
