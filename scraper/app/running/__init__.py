"""Running a spider: start or resume, one process or several workers, output files, the end."""
