"""What a teacher said of the training questions: collected, imported, read and described."""
