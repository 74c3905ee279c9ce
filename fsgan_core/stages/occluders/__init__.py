"""What lies in front of a face or grows on it: hands, hair, glasses, beards."""
