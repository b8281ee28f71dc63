"""Reading pictures from disk: folders, transforms, the sample stream, downloads."""
