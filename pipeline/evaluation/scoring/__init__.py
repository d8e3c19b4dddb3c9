"""From answers to letters, from letters to accuracies, and from two runs to a comparison."""
