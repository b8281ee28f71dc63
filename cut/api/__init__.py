"""What `import cut` offers to programs and notebooks, and what the commands share with it."""
