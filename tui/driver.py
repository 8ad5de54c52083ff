"""The framework's driver of a terminal, without its pause at the end.

Belongs here: how the program lets go of the terminal.
Never here: what is drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.drivers.linux_driver import LinuxDriver

if TYPE_CHECKING:
    from tui.app import SafelightApp


class TerminalDriver(LinuxDriver):
    """Lets go of the terminal at once when the program ends.

    The framework waits for its reading thread, which looks up five times a second. The program
    ends right behind it, and the thread with it.
    """

    def disable_input(self) -> None:
        """Read no more; wait for the reading thread only where the program goes on."""
        if self._app._exit:  # noqa: SLF001  nothing public tells
            self._key_thread = None
        super().disable_input()

    def stop_application_mode(self) -> None:
        """Give the terminal back; before that it forgets the pictures.

        A terminal keeps pictures for each of its two screens, and forgets on the one in front.
        """
        cast("SafelightApp", self._app).painter.drop_all()
        super().stop_application_mode()
