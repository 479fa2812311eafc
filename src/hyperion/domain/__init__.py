"""Values and rules: frozen, pure, without input or output, without a clock."""
