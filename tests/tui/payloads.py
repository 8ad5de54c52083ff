"""Forty texts that a terminal or a reader of markup would act upon, or that mislead a person.

Belongs here: the texts. Never here: where they are put.
"""

from __future__ import annotations

PAYLOADS = (
    "\x1b]52;c;ZXZpbA==\x07",
    "\x1b]0;title\x07",
    "\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\",
    "\x1b[2J\x1b[H",
    "\x1b[31mred",
    "\x1b[?1049l",
    "\x1b[6n",
    "\x1b[c",
    "\x1bc",
    "\x1bP+q544e\x1b\\",
    "\x1b_Gf=24,s=1,v=1;AAAA\x1b\\",
    "\x1b^private\x1b\\",
    "\x1bXstring\x1b\\",
    "\x9b31m",
    "\x9d52;c;ZXZpbA==\x9c",
    "\x90q\x9c",
    "\x07bell",
    "\x08\x08\x08back",
    "\rover the start",
    "two\nlines",
    "a\x0bb\x0cc",
    "\x7fdelete",
    "\x00null",
    "\x0e shift out",
    "[@click=app.quit]press[/]",
    "[bold red]markup[/]",
    "[link=https://evil.example]a[/link]",
    "[/]",
    "[[double]]",
    "[@click=screen.dismiss]",
    "$error",
    "\u202eevil.gpj",
    "\u2066isolate\u2069",
    "\u200bzero\u200dwidth",
    "\ufeffmark",
    "\u2028line\u2029paragraph",
    "\U000e0041tag",
    "\ue000private",
    "e\u0301" * 3,
    "long " * 2000,
)
"""As names, comments, terms and names of peers."""
