"""Tables and pages, whatever is in them."""
