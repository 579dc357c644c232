"""What is computed: arrays in, arrays out. No SQL, files, network, configuration or plots."""
