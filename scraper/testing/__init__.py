"""What tests of spiders need: sites that behave as real ones do, without a network."""
