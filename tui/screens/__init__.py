"""The screens, one file each: what a person does there, and which calls it makes."""
