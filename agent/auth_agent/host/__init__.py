"""What the operating system offers: clocks, hardening, service managers."""
