/* SPDX-License-Identifier: GPL-3.0-or-later */
/* cli - finding the verb, its options, and saying what happened to people or as JSON. */
#include <stdarg.h>
#include <string.h>

#include "base/log.h"
#include "base/str.h"
#include "ctl/cli.h"
#include "ctl/completion.h"

#define OPTIONS_MAX 48

static void print_option(const char *name, const char *argument, const char *help)
{
        char left[64];

        (void)snprintf(left, sizeof left, "--%s%s%s", name, argument ? " " : "",
                       argument ? argument : "");
        printf("  %-30s %s\n", left, help);
}

static void print_verb_help(const struct ctl_context *c, const struct ctl_option *options, size_t n)
{
        const struct ctl_verb *v = c->verb;

        printf("Usage: %s %s%s%s [OPTIONS]\n\n%s\n", c->program, v->name, v->arguments ? " " : "",
               v->arguments ? v->arguments : "", v->summary);
        if (v->details)
                printf("\n%s\n", v->details);
        printf("\nOptions:\n");
        for (size_t i = 0; i < n; i++)
                print_option(options[i].name, options[i].argument, options[i].help);
}

static int complain(const struct ctl_context *c, const char *what, const char *word)
{
        char escaped[256];

        fprintf(stderr, "%s %s: %s '%s'. See '%s %s --help'.\n", c->program, c->verb->name, what,
                bth_escape(word, strlen(word), escaped, sizeof escaped), c->program, c->verb->name);
        return -EINVAL;
}

static int apply_option(const struct ctl_context *c, const struct ctl_option *o, const char *value)
{
        if (o->flag)
                *o->flag = true;
        if (o->text)
                *o->text = value;
        if (o->parse && o->parse(value, o->userdata) < 0)
                return complain(c, "this value is not allowed here:", value ? value : o->name);
        return 0;
}

/* Handles argv[i], "--name", "--name=value" or "--name value". Returns how many words it took. */
static int take_option(const struct ctl_context *c, const struct ctl_option *options, size_t n,
                       char **argv, int i, int argc)
{
        const char *word = argv[i] + 2;
        const char *equals = strchr(word, '=');
        size_t length = equals ? (size_t)(equals - word) : strlen(word);

        for (size_t k = 0; k < n; k++) {
                const struct ctl_option *o = &options[k];
                const char *value = equals ? equals + 1 : NULL;
                int used = 1, r;

                if (strlen(o->name) != length || memcmp(o->name, word, length) != 0)
                        continue;
                if (!o->argument && value)
                        return complain(c, "this option takes no value:", argv[i]);
                if (o->argument && !value) {
                        if (i + 1 == argc)
                                return complain(c, "this option needs a value:", argv[i]);
                        value = argv[i + 1];
                        used = 2;
                }
                r = apply_option(c, o, value);
                return r < 0 ? r : used;
        }
        return complain(c, "unknown option", argv[i]);
}

/* Returns 1, as if help had been asked for: the verb ends. */
static int describe(json_t *list, const struct ctl_option *options, size_t n)
{
        for (size_t i = 0; i < n; i++)
                (void)json_array_append_new(
                        list, json_pack("{s:s, s:s*, s:s}", "name", options[i].name, "argument",
                                        options[i].argument, "help", options[i].help));
        return 1;
}

int ctl_parse_options(struct ctl_context *c, const struct ctl_option *options, size_t n_options,
                      int argc, char **argv, int n_positional_min, int n_positional_max,
                      char ***ret_words, int *ret_n_words)
{
        bool help = false;
        const struct ctl_option common[] = {
                { "json", NULL, "print one JSON object instead of text", .flag = &c->json },
                { "dry-run", NULL, "say what would be done and do nothing", .flag = &c->dry_run },
                { "quiet", NULL, "show no progress", .flag = &c->quiet },
                { "yes", NULL, "answer yes to every question", .flag = &c->yes },
                { "help", NULL, "show this text", .flag = &help },
        };
        struct ctl_option all[OPTIONS_MAX];
        size_t n = 0;
        int n_words = 0;

        if (n_options + ARRAY_SIZE(common) > OPTIONS_MAX)
                return -EINVAL;
        for (size_t i = 0; i < n_options; i++)
                all[n++] = options[i];
        for (size_t i = 0; i < ARRAY_SIZE(common); i++)
                all[n++] = common[i];
        if (c->describe)
                return describe(c->describe, all, n);
        for (int i = 1; i < argc;) {
                int used;

                if (strcmp(argv[i], "--") == 0) {
                        while (++i < argc)
                                argv[1 + n_words++] = argv[i];
                        break;
                }
                if (!bth_starts_with(argv[i], "--")) {
                        argv[1 + n_words++] = argv[i++];
                        continue;
                }
                used = take_option(c, all, n, argv, i, argc);
                if (used < 0)
                        return used;
                i += used;
        }
        if (help) {
                print_verb_help(c, all, n);
                return 1;
        }
        if (n_words < n_positional_min || n_words > n_positional_max) {
                fprintf(stderr, "%s %s: %s. Usage: %s %s %s\n", c->program, c->verb->name,
                        n_words < n_positional_min ? "something is missing" : "too many words",
                        c->program, c->verb->name, c->verb->arguments ? c->verb->arguments : "");
                return -EINVAL;
        }
        *ret_words = argv + 1;
        *ret_n_words = n_words;
        return 0;
}

static void print_program_help(const char *program, const struct ctl_verb *const *verbs, size_t n)
{
        printf("Usage: %s VERB [ARGUMENTS] [OPTIONS]\n\nVerbs:\n", program);
        for (size_t i = 0; i < n; i++)
                printf("  %-16s %s\n", verbs[i]->name, verbs[i]->summary);
        printf("  %-16s %s\n", "completion SHELL", "Prints the completion of bash or zsh.");
        printf("\n'%s VERB --help' tells more. Exit codes: 0 done, 1 checked and found wanting, "
               "2 not understood, 3 failed, 4 refused.\n",
               program);
}

static int print_report(struct ctl_context *c, enum ctl_exit code)
{
        _cleanup_free_ char *text = NULL;

        if (!c->json || !c->report)
                return (int)code;
        if (!c->bare)
                ctl_report(c, "exitCode", json_integer(code));
        text = json_dumps(c->report, JSON_INDENT(2) | (c->bare ? 0 : JSON_SORT_KEYS));
        if (!text || puts(text) < 0)
                return CTL_EXIT_FAILED;
        return (int)code;
}

/* How many words of the line name this verb: 1, 2, or 0 when they name another one. */
static int words_of(const struct ctl_verb *v, int argc, char **argv)
{
        const char *blank = strchr(v->name, ' ');
        const size_t n = blank ? (size_t)(blank - v->name) : strlen(v->name);

        if (argc < 2 || strlen(argv[1]) != n || memcmp(argv[1], v->name, n) != 0)
                return 0;
        if (!blank)
                return 1;
        return argc > 2 && strcmp(argv[2], blank + 1) == 0 ? 2 : 0;
}

/* The first word may be that of a family: then says which words may follow. */
static void complain_of_verb(const char *program, const struct ctl_verb *const *verbs, size_t n,
                             const char *name)
{
        char escaped[256];
        bool family = false;

        for (size_t i = 0; i < n; i++) {
                const char *blank = strchr(verbs[i]->name, ' ');

                if (!blank || strlen(name) != (size_t)(blank - verbs[i]->name) ||
                    !bth_starts_with(verbs[i]->name, name))
                        continue;
                if (!family)
                        fprintf(stderr, "%s %s: behind it stands one of:", program, name);
                fprintf(stderr, "%s %s", family ? "," : "", blank + 1);
                family = true;
        }
        if (family)
                fprintf(stderr, ".\n");
        else
                fprintf(stderr, "%s: unknown verb '%s'. See '%s --help'.\n", program,
                        bth_escape(name, strlen(name), escaped, sizeof escaped), program);
}

int ctl_main(const char *program, const struct ctl_verb *const *verbs, size_t n_verbs, int argc,
             char **argv)
{
        const char *name = argc > 1 ? argv[1] : "--help";
        int code = CTL_EXIT_USAGE;

        bth_log_open(BTH_LOG_TARGET_STDERR, getenv("BERTH_DEBUG") ? LOG_DEBUG : LOG_WARNING);
        if (strcmp(name, "--help") == 0 || strcmp(name, "help") == 0) {
                print_program_help(program, verbs, n_verbs);
                return argc > 1 ? CTL_EXIT_OK : CTL_EXIT_USAGE;
        }
        if (strcmp(name, "completion") == 0)
                return (int)ctl_completion(program, verbs, n_verbs, argc == 3 ? argv[2] : NULL);
        if (strcmp(name, "--version") == 0) {
                printf("%s %s\n", program, BERTH_VERSION);
                return CTL_EXIT_OK;
        }
        for (size_t i = 0; i < n_verbs; i++) {
                struct ctl_context c = { .program = program, .verb = verbs[i] };
                const int words = words_of(verbs[i], argc, argv);

                if (words == 0)
                        continue;
                c.report = json_object();
                if (!c.report)
                        return CTL_EXIT_FAILED;
                code = print_report(&c, verbs[i]->run(&c, argc - words, argv + words));
                json_decref(c.report);
                if (fflush(stdout) != 0)
                        return CTL_EXIT_FAILED; /* a full disk behind a pipe must not look like
                                                   success */
                return code;
        }
        complain_of_verb(program, verbs, n_verbs, name);
        return code;
}

void ctl_say(const struct ctl_context *c, const char *format, ...)
{
        va_list ap;

        if (c->json)
                return;
        va_start(ap, format);
        vprintf(format, ap);
        va_end(ap);
        putchar('\n');
}

static void report_text(json_t *object, const char *key, const char *text)
{
        if (text && text[0] != '\0')
                (void)json_object_set_new(object, key, json_string(text));
}

void ctl_fail(struct ctl_context *c, const struct bth_error *e)
{
        char text[1536];
        json_t *object = json_object();

        bth_error_to_string(e, text, sizeof text);
        bth_redact(text);
        fprintf(stderr, "%s %s: %s\n", c->program, c->verb->name, text);
        report_text(object, "message", text);
        report_text(object, "reason", bth_reason_to_string(e->reason));
        report_text(object, "object", e->object);
        report_text(object, "blob", e->blob);
        report_text(object, "advice", bth_error_advice(e));
        if (e->line != 0)
                (void)json_object_set_new(object, "line", ctl_json_bytes(e->line));
        if (e->offset_bytes != BTH_ERROR_NO_OFFSET)
                (void)json_object_set_new(object, "offset", ctl_json_bytes(e->offset_bytes));
        ctl_report(c, "error", object);
}

void ctl_warn(struct ctl_context *c, const char *format, ...)
{
        char raw[1024], text[1024];
        json_t *warnings;
        va_list ap;
        int n;

        va_start(ap, format);
        n = vsnprintf(raw, sizeof raw, format, ap);
        va_end(ap);
        bth_redact_cut(raw, sizeof raw, n);
        bth_escape(raw, strlen(raw), text, sizeof text);
        fprintf(stderr, "%s %s: warning: %s\n", c->program, c->verb->name, text);
        warnings = json_object_get(c->report, "warnings");
        if (!warnings) {
                warnings = json_array();
                ctl_report(c, "warnings", warnings);
        }
        (void)json_array_append_new(warnings, json_string(text));
}

void ctl_report(struct ctl_context *c, const char *key, json_t *value)
{
        if (!value || json_object_set_new(c->report, key, value) < 0) {
                fprintf(stderr, "%s: out of memory\n", c->program);
                exit(CTL_EXIT_FAILED);
        }
}

json_t *ctl_json_bytes(uint64_t v)
{
        return json_integer((json_int_t)MIN(v, (uint64_t)INT64_MAX));
}

char *ctl_bytes_text(uint64_t bytes, char out[32])
{
        static const char *const units[] = { "bytes", "kB", "MB", "GB", "TB", "PB", "EB" };
        uint64_t whole = bytes, tenths = 0;
        size_t unit = 0;

        while (whole >= 1000 && unit + 1 < ARRAY_SIZE(units)) {
                tenths = whole % 1000 / 100;
                whole /= 1000;
                unit++;
        }
        if (unit == 0 || whole >= 100)
                (void)snprintf(out, 32, "%llu %s", (unsigned long long)whole, units[unit]);
        else
                (void)snprintf(out, 32, "%llu.%llu %s", (unsigned long long)whole,
                               (unsigned long long)tenths, units[unit]);
        return out;
}

bool ctl_confirm(const struct ctl_context *c, const char *question)
{
        char answer[16] = "";

        if (c->yes)
                return true;
        if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
                return false;
        fprintf(stderr, "%s Type 'yes' to go on: ", question);
        return fgets(answer, sizeof answer, stdin) && strcmp(answer, "yes\n") == 0;
}
