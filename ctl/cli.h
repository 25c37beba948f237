/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli - what the verbs of berth-prep and berthctl have in common: table, options, output, exit
 * codes. One process, one verb; the main thread only. */
#pragma once

#include <stdio.h>

#include "base/error.h"
#include "base/json.h"

/* Exit codes, as in the man pages. */
enum ctl_exit {
        CTL_EXIT_OK = 0,
        CTL_EXIT_FINDINGS = 1, /* the command ran; what it checked is not in order */
        CTL_EXIT_USAGE = 2,    /* the command line or a file named on it cannot be understood */
        CTL_EXIT_FAILED = 3,   /* it could not be done; nothing is half done, or --resume goes on */
        CTL_EXIT_REFUSED = 4,  /* it would destroy data, and that was not confirmed */
};

struct ctl_context {
        const char *program;
        const struct ctl_verb *verb;
        bool json;        /* one JSON object on stdout, nothing else there */
        bool dry_run;     /* say what would be done, do nothing */
        bool quiet;       /* no progress */
        bool yes;         /* answers questions before destroying data */
        bool bare;        /* the report is printed as it is, without the exit code */
        json_t *report;   /* object; printed at the end with --json; NULL: nothing to print */
        json_t *describe; /* array: ctl_parse_options() adds the options to it and does no more */
};

/* One option of a verb; the common ones (--json, --dry-run, --quiet, --yes, --help) are added to
 * every verb. */
struct ctl_option {
        const char *name;     /* without dashes */
        const char *argument; /* "FILE"; NULL: a switch */
        const char *help;     /* one line */
        /* Where the value goes: */
        const char **text; /* last one wins */
        bool *flag;
        int (*parse)(const char *value,
                     void *userdata); /* 0 or negative errno: -EINVAL, anything odd */
        void *userdata;
};

struct ctl_verb {
        const char *name;      /* "list"; of two words for one of a family: "job import" */
        const char *arguments; /* "DRIVE [DIR]" for the usage line */
        const char *summary;   /* one line */
        const char *details;   /* paragraph for --help, may be NULL */
        /* Returns an exit code. argv[0] is the verb. */
        enum ctl_exit (*run)(struct ctl_context *c, int argc, char **argv);
};

/* Parses options anywhere on the line ("--" ends them), in place.
 *   n_positional_min, _max  how many words may remain
 * Every verb calls this before it does anything.
 * Returns 0 and the words; 1 when --help was answered (exit with CTL_EXIT_OK); -EINVAL after the
 * complaint was printed (exit with CTL_EXIT_USAGE). Secrets are never options: they come from
 * files. */
int ctl_parse_options(struct ctl_context *c, const struct ctl_option *options, size_t n_options,
                      int argc, char **argv, int n_positional_min, int n_positional_max,
                      char ***ret_words, int *ret_n_words) _must_check_;

/* Finds the verb and runs it; prints the report; also --help, --version, and "completion SHELL"
 * (ctl/completion.h). Returns the exit code of the process. */
int ctl_main(const char *program, const struct ctl_verb *const *verbs, size_t n_verbs, int argc,
             char **argv);

/* Prints one line for people (stdout; nothing with --json). */
void ctl_say(const struct ctl_context *c, const char *format, ...) _printf_(2, 3);
/* Prints an error for people (stderr) and adds it to the report as member "error". */
void ctl_fail(struct ctl_context *c, const struct bth_error *e);
/* Prints a warning (stderr) and adds it to the report's array "warnings". Hostile text is escaped.
 */
void ctl_warn(struct ctl_context *c, const char *format, ...) _printf_(2, 3);

/* Takes over `value` as member of the report. Out of memory ends the process: there is nothing to
 * report. */
void ctl_report(struct ctl_context *c, const char *key, json_t *value);
json_t *ctl_json_bytes(uint64_t v);

/* "1.5 GB", "12 bytes": decimal units, as drives are sold. Writes at most 32 bytes; returns `out`.
 */
char *ctl_bytes_text(uint64_t bytes, char out[32]);

/* Asks on the terminal; true only for an explicit "yes". False without a terminal, true with --yes.
 */
bool ctl_confirm(const struct ctl_context *c, const char *question);
