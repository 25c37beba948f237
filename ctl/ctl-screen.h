/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ctl-screen - a terminal that is drawn on as a whole, and given back as it was.
 *
 * The alternate screen, without cursor and echo. Signals come through a descriptor, so that the
 * terminal is restored whichever of them ends the program; Ctrl-Z gives it back for as long as the
 * program is stopped. One screen a process, one thread.
 * Source: ECMA-48; xterm control sequences; termios(3), signalfd(2). */
#pragma once

#include <termios.h>

#include "base/error.h"

struct ctl_screen {
        unsigned columns, rows;
        bool colours; /* NO_COLOR and TERM say so */
        int signals;
        bool has_keys, deaf, drawn_on; /* deaf: no more keys will come */
        struct termios before;         /* with `has_keys` */
};

/* stdout is the terminal; keys are read from stdin when that is one, too.
 * Returns 0, -ENOTTY, -errno of signalfd(2) or tcsetattr(3). */
int ctl_screen_open(struct ctl_screen *s) _must_check_;
/* Gives the terminal back. Twice is well. */
void ctl_screen_close(struct ctl_screen *s);

enum ctl_screen_event {
        CTL_SCREEN_TIME,    /* the time is over */
        CTL_SCREEN_RESIZED, /* also after Ctrl-Z: draw again */
        CTL_SCREEN_QUIT,    /* q, Ctrl-C */
        CTL_SCREEN_UP,
        CTL_SCREEN_DOWN,
        CTL_SCREEN_PAGE_UP,
        CTL_SCREEN_PAGE_DOWN,
        CTL_SCREEN_ENDED, /* a signal: close, then ctl_screen_end() */
};
/* Waits for the first of them, at most `msec`. `ret_signal` is set with ENDED. */
enum ctl_screen_event ctl_screen_wait(struct ctl_screen *s, unsigned msec, int *ret_signal);
/* Ends the process by the signal, as it would have without us. */
_noreturn_ void ctl_screen_end(int signal);

/* Shows lines (each ended by '\n', none wider than the screen) from the top; those that do not fit
 * are left out. Returns 0 or -errno of write(2). */
int ctl_screen_draw(const struct ctl_screen *s, const char *lines) _must_check_;

/* Does the terminal's user read UTF-8? By the locale of the environment. */
bool ctl_screen_knows_utf8(void);
