"""What a completion costs: operations from a model's size, dollars from its price."""
