"""What commands write as HTML pages: plots where one would rather look than read."""
