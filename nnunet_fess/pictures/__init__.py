"""What our pictures have in common: planes as a radiologist reads them, and colours that everybody can tell apart."""
