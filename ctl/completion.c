/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ctl/completion.h"

#include <string.h>

#include "base/str.h"

#define NAME_MAX_BYTES 64

/* ---- the table ---- */

static json_t *describe_verb(const struct ctl_verb *v)
{
        json_t *options = json_array();
        struct ctl_context c = { .program = "", .verb = v, .describe = options };
        char name[NAME_MAX_BYTES];
        char *argv[] = { name, NULL };

        (void)snprintf(name, sizeof name, "%s", v->name);
        c.report = json_object();
        if (options && c.report)
                (void)v->run(&c, 1, argv);
        json_decref(c.report);
        return json_pack("{s:s, s:s*, s:s, s:o}", "name", v->name, "arguments", v->arguments,
                         "summary", v->summary, "options", options);
}

json_t *ctl_describe(const struct ctl_verb *const *verbs, size_t n_verbs)
{
        json_t *list = json_array();

        for (size_t i = 0; list && i < n_verbs; i++) {
                json_t *verb = describe_verb(verbs[i]);

                if (!verb || json_array_append_new(list, verb) < 0) {
                        json_decref(list);
                        return NULL;
                }
        }
        return list ? json_pack("{s:o}", "verbs", list) : NULL;
}

static const char *text_of(const json_t *object, const char *key)
{
        const char *text = json_string_value(json_object_get(object, key));

        return text ? text : "";
}

/* What kind of value an option or word takes, by the word that help shows for it. */
static const char *kind_of(const char *argument)
{
        static const char *const files[] = { "FILE", "CSV", "OUT", "DRIVE" };

        if (argument[0] == '\0')
                return "none";
        for (size_t i = 0; i < ARRAY_SIZE(files); i++)
                if (bth_starts_with(argument, files[i]))
                        return "file";
        return strcmp(argument, "DIR") == 0 ? "folder" : "other";
}

/* ---- bash ---- */

static void print_options(const json_t *options, const char *kind)
{
        bool first = true;
        const json_t *o;
        size_t i;

        json_array_foreach(options, i, o)
        {
                if (kind && strcmp(kind_of(text_of(o, "argument")), kind) != 0)
                        continue;
                printf("%s--%s", first ? "" : " ", text_of(o, "name"));
                first = false;
        }
}

static void print_function_name(const char *program)
{
        putchar('_');
        for (const char *c = program; *c; c++)
                putchar(*c == '-' ? '_' : *c);
}

static void print_bash_verb(const json_t *verb)
{
        const json_t *options = json_object_get(verb, "options");

        printf("        %s)\n                options=\"", text_of(verb, "name"));
        print_options(options, NULL);
        printf("\"\n                files=\"");
        print_options(options, "file");
        printf("\"\n                folders=\"");
        print_options(options, "folder");
        printf("\"\n                others=\"");
        print_options(options, "other");
        printf("\"\n                ;;\n");
}

static void print_bash(const char *program, const json_t *verbs)
{
        const json_t *verb;
        size_t i;

        printf("# Completion of %s for bash; made by '%s completion bash'.\n# shellcheck "
               "shell=bash\n",
               program, program);
        print_function_name(program);
        printf("()\n{\n"
               "        local cur=\"${COMP_WORDS[COMP_CWORD]}\" "
               "prev=\"${COMP_WORDS[COMP_CWORD-1]}\"\n"
               "        local options=\"\" files=\"\" folders=\"\" others=\"\"\n\n"
               "        COMPREPLY=()\n"
               "        if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
               "                mapfile -t COMPREPLY < <(compgen -W \"");
        json_array_foreach(verbs, i, verb) printf("%s ", text_of(verb, "name"));
        printf("completion --help --version\" -- \"$cur\")\n"
               "                return\n"
               "        fi\n"
               "        case \"${COMP_WORDS[1]}\" in\n");
        json_array_foreach(verbs, i, verb) print_bash_verb(verb);
        printf("        completion)\n"
               "                mapfile -t COMPREPLY < <(compgen -W \"bash zsh json\" -- "
               "\"$cur\")\n"
               "                return\n"
               "                ;;\n"
               "        esac\n"
               "        if [[ \" $others \" == *\" $prev \"* ]]; then\n"
               "                return\n"
               "        elif [[ \" $folders \" == *\" $prev \"* ]]; then\n"
               "                mapfile -t COMPREPLY < <(compgen -d -- \"$cur\")\n"
               "        elif [[ \" $files \" == *\" $prev \"* || \"$cur\" != -* ]]; then\n"
               "                mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
               "        else\n"
               "                mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$cur\")\n"
               "        fi\n"
               "}\ncomplete -o filenames -F ");
        print_function_name(program);
        printf(" %s\n", program);
}

/* ---- zsh ---- */

/* Text inside a single-quoted word of _arguments or _describe. */
static void print_zsh_text(const char *text)
{
        for (const char *c = text; *c; c++) {
                if (*c == '\'') {
                        printf("'\\''");
                        continue;
                }
                if (strchr("[]:\\", *c))
                        putchar('\\');
                putchar(*c);
        }
}

static void print_zsh_option(const json_t *o)
{
        const char *argument = text_of(o, "argument"), *kind = kind_of(argument);

        printf(" \\\n                '*--%s[", text_of(o, "name"));
        print_zsh_text(text_of(o, "help"));
        putchar(']');
        if (argument[0] != '\0') {
                putchar(':');
                print_zsh_text(argument);
                printf(":%s", strcmp(kind, "file") == 0     ? "_files"
                              : strcmp(kind, "folder") == 0 ? "_files -/"
                                                            : "");
        }
        putchar('\'');
}

static void print_zsh(const char *program, const json_t *verbs)
{
        const json_t *verb, *option;
        size_t i, k;

        printf("#compdef %s\n# Made by '%s completion zsh'.\nlocal -a verbs\nverbs=(\n", program,
               program);
        json_array_foreach(verbs, i, verb)
        {
                printf("        '%s:", text_of(verb, "name"));
                print_zsh_text(text_of(verb, "summary"));
                printf("'\n");
        }
        printf("        'completion:Prints the completion of a shell.'\n)\n"
               "if (( CURRENT == 2 )); then\n        _describe verb verbs\n        return\nfi\n"
               "shift words\n(( CURRENT-- ))\ncase $words[1] in\n");
        json_array_foreach(verbs, i, verb)
        {
                printf("%s)\n        _arguments", text_of(verb, "name"));
                json_array_foreach(json_object_get(verb, "options"), k, option)
                        print_zsh_option(option);
                printf(" \\\n                '*:file:_files'\n        ;;\n");
        }
        printf("completion)\n        _values shell bash zsh json\n        ;;\nesac\n");
}

enum ctl_exit ctl_completion(const char *program, const struct ctl_verb *const *verbs,
                             size_t n_verbs, const char *shell)
{
        _cleanup_json_ json_t *table = ctl_describe(verbs, n_verbs);
        const json_t *list = json_object_get(table, "verbs");
        _cleanup_free_ char *text = NULL;

        if (!table)
                return CTL_EXIT_FAILED;
        if (bth_streq(shell, "bash")) {
                print_bash(program, list);
        } else if (bth_streq(shell, "zsh")) {
                print_zsh(program, list);
        } else if (bth_streq(shell, "json")) {
                text = json_dumps(table, JSON_INDENT(2));
                if (!text)
                        return CTL_EXIT_FAILED;
                puts(text);
        } else {
                fprintf(stderr, "%s completion: name a shell: bash or zsh (or json).\n", program);
                return CTL_EXIT_USAGE;
        }
        return fflush(stdout) == 0 ? CTL_EXIT_OK : CTL_EXIT_FAILED;
}
