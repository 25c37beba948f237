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

/* What kind of value an option or word takes, by the word that help shows for it. To a program with
 * a verb "names" a DRIVE, BAY or JOB is one of those names; to the others a DRIVE is a file. */
static const char *kind_of(const char *argument, bool has_names)
{
        static const char *const files[] = { "FILE", "CSV", "OUT", "JOURNAL", "DRIVE" };

        if (argument[0] == '\0')
                return "none";
        if (has_names && (strstr(argument, "DRIVE") || strstr(argument, "BAY")))
                return "thing";
        if (has_names && strstr(argument, "JOB"))
                return "job";
        for (size_t i = 0; i < ARRAY_SIZE(files); i++)
                if (bth_starts_with(argument, files[i]))
                        return "file";
        return strcmp(argument, "DIR") == 0 ? "folder" : "other";
}

/* ---- names and families ---- */

static bool has_verb(const json_t *verbs, const char *name)
{
        const json_t *verb;
        size_t i;

        json_array_foreach(verbs, i, verb) if (bth_streq(text_of(verb, "name"), name)) return true;
        return false;
}

/* The words that the verb "names" is asked for, for what may stand behind another verb. */
static const char *names_for(const char *arguments)
{
        static const struct {
                const char *arguments, *kinds;
        } known[] = {
                { "BAY|DRIVE", "bays drives" },
                { "BAY DRIVE", "bays drives" },
                { "[DRIVE|JOB]", "drives jobs" },
                { "JOB [DRIVE...]", "jobs drives" },
                { "BAY", "bays" },
                { "DRIVE", "drives" },
                { "JOB", "jobs" },
        };

        for (size_t i = 0; i < ARRAY_SIZE(known); i++)
                if (strcmp(arguments, known[i].arguments) == 0)
                        return known[i].kinds;
        return "";
}

/* Of "job import" the part before the blank, or all. */
static size_t family_bytes(const char *name)
{
        return strcspn(name, " ");
}

static const char *name_at(const json_t *verbs, size_t at)
{
        return text_of(json_array_get(verbs, at), "name");
}

/* Is it the first verb of its family, or of none? */
static bool is_first(const json_t *verbs, size_t at)
{
        const char *name = name_at(verbs, at);
        const size_t n = family_bytes(name);

        for (size_t i = 0; i < at; i++)
                if (family_bytes(name_at(verbs, i)) == n && memcmp(name_at(verbs, i), name, n) == 0)
                        return false;
        return true;
}

static bool begins_family(const json_t *verbs, size_t at)
{
        return strchr(name_at(verbs, at), ' ') && is_first(verbs, at);
}

/* "import show …", where verb `at` begins the family. */
static void print_family(const json_t *verbs, size_t at)
{
        const size_t n = family_bytes(name_at(verbs, at));

        for (size_t i = at; i < json_array_size(verbs); i++) {
                const char *name = name_at(verbs, i);

                if (strncmp(name, name_at(verbs, at), n) == 0 && name[n] == ' ')
                        printf("%s%s", i == at ? "" : " ", name + n + 1);
        }
}

/* ---- bash ---- */

static void print_options(const json_t *options, const char *kind, bool has_names)
{
        bool first = true;
        const json_t *o;
        size_t i;

        json_array_foreach(options, i, o)
        {
                if (kind && strcmp(kind_of(text_of(o, "argument"), has_names), kind) != 0)
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

static void print_bash_verb(const json_t *verb, bool has_names)
{
        static const char *const kinds[][2] = { { "files", "file" },
                                                { "folders", "folder" },
                                                { "things", "thing" },
                                                { "jobs", "job" },
                                                { "others", "other" } };
        const json_t *options = json_object_get(verb, "options");

        printf("        '%s')\n                options=\"", text_of(verb, "name"));
        print_options(options, NULL, has_names);
        for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
                printf("\"\n                %s=\"", kinds[i][0]);
                print_options(options, kinds[i][1], has_names);
        }
        printf("\"\n");
        if (has_names)
                printf("                names=(%s)\n", names_for(text_of(verb, "arguments")));
        printf("                ;;\n");
}

/* A verb of two words: the second is completed, then both are the name. */
static void print_bash_families(const json_t *verbs)
{
        for (size_t i = 0; i < json_array_size(verbs); i++) {
                if (!begins_family(verbs, i))
                        continue;
                printf("        if [ \"$verb\" = %.*s ]; then\n"
                       "                if [ \"$COMP_CWORD\" -eq 2 ]; then\n"
                       "                        mapfile -t COMPREPLY < <(compgen -W \"",
                       (int)family_bytes(name_at(verbs, i)), name_at(verbs, i));
                print_family(verbs, i);
                printf("\" -- \"$cur\")\n"
                       "                        return\n"
                       "                fi\n"
                       "                verb+=\" ${COMP_WORDS[2]}\"\n"
                       "        fi\n");
        }
}

static void print_bash_head(const char *program, const json_t *verbs)
{
        printf("# Completion of %s for bash; made by '%s completion bash'.\n# shellcheck "
               "shell=bash\n",
               program, program);
        print_function_name(program);
        printf("()\n{\n"
               "        local cur=\"${COMP_WORDS[COMP_CWORD]}\" "
               "prev=\"${COMP_WORDS[COMP_CWORD-1]}\"\n"
               "        local options=\"\" files=\"\" folders=\"\" things=\"\" jobs=\"\" "
               "others=\"\"\n"
               "        local verb=\"${COMP_WORDS[1]}\"\n\n"
               "        COMPREPLY=()\n"
               "        if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
               "                mapfile -t COMPREPLY < <(compgen -W \"");
        for (size_t i = 0; i < json_array_size(verbs); i++)
                if (is_first(verbs, i))
                        printf("%.*s ", (int)family_bytes(name_at(verbs, i)), name_at(verbs, i));
        printf("completion --help --version\" -- \"$cur\")\n"
               "                return\n"
               "        fi\n");
}

/* Names come from journals: they are compared, never expanded. */
static void print_bash_names(const char *program)
{
        printf("        if [ ${#names[@]} -gt 0 ]; then\n"
               "                local name\n"
               "                while IFS= read -r name; do\n"
               "                        [[ \"$name\" == \"$cur\"* ]] && COMPREPLY+=(\"$name\")\n"
               "                done < <(%s names \"${names[@]}\" 2>/dev/null)\n"
               "                return\n"
               "        fi\n",
               program);
}

static void print_bash(const char *program, const json_t *verbs)
{
        const bool has_names = has_verb(verbs, "names");
        const json_t *verb;
        size_t i;

        print_bash_head(program, verbs);
        print_bash_families(verbs);
        if (has_names)
                printf("        local -a names=()\n");
        printf("        case \"$verb\" in\n");
        json_array_foreach(verbs, i, verb) print_bash_verb(verb, has_names);
        printf("        completion)\n"
               "                mapfile -t COMPREPLY < <(compgen -W \"bash zsh json\" -- "
               "\"$cur\")\n"
               "                return\n"
               "                ;;\n"
               "        esac\n");
        if (has_names)
                printf("        if [[ \" $things \" == *\" $prev \"* ]]; then\n"
                       "                names=(bays drives)\n"
                       "        elif [[ \" $jobs \" == *\" $prev \"* ]]; then\n"
                       "                names=(jobs)\n"
                       "        elif [[ \" $files \" == *\" $prev \"* ]]; then\n"
                       "                names=()\n"
                       "        fi\n");
        printf("        if [[ \" $others \" == *\" $prev \"* ]]; then\n"
               "                return\n"
               "        elif [[ \" $folders \" == *\" $prev \"* ]]; then\n"
               "                mapfile -t COMPREPLY < <(compgen -d -- \"$cur\")\n"
               "                return\n"
               "        elif [[ \" $files $things $jobs \" != *\" $prev \"* && \"$cur\" == -* ]]; "
               "then\n"
               "                mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$cur\")\n"
               "                return\n"
               "        fi\n");
        if (has_names)
                print_bash_names(program);
        printf("        mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
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

static void print_zsh_names(const char *program, const char *kinds)
{
        printf("{compadd -- ${(f)\"$(%s names %s 2>/dev/null)\"}}", program, kinds);
}

static void print_zsh_option(const char *program, const json_t *o, bool has_names)
{
        const char *argument = text_of(o, "argument"), *kind = kind_of(argument, has_names);

        printf(" \\\n                '*--%s[", text_of(o, "name"));
        print_zsh_text(text_of(o, "help"));
        putchar(']');
        if (argument[0] != '\0') {
                putchar(':');
                print_zsh_text(argument);
                putchar(':');
                if (strcmp(kind, "thing") == 0)
                        print_zsh_names(program, "bays drives");
                else if (strcmp(kind, "job") == 0)
                        print_zsh_names(program, "jobs");
                else
                        printf("%s", strcmp(kind, "file") == 0     ? "_files"
                                     : strcmp(kind, "folder") == 0 ? "_files -/"
                                                                   : "");
        }
        putchar('\'');
}

static void print_zsh_verb(const char *program, const json_t *verb, bool has_names)
{
        const char *name = text_of(verb, "name");
        const char *names = has_names ? names_for(text_of(verb, "arguments")) : "";
        const char *quote = strchr(name, ' ') ? "'" : "";
        const json_t *option;
        size_t i;

        printf("%s%s%s)\n        _arguments", quote, name, quote);
        json_array_foreach(json_object_get(verb, "options"), i, option)
                print_zsh_option(program, option, has_names);
        printf(" \\\n                '*:%s:", names[0] != '\0' ? "name" : "file");
        if (names[0] != '\0')
                print_zsh_names(program, names);
        else
                printf("_files");
        printf("'\n        ;;\n");
}

static void print_zsh_families(const json_t *verbs)
{
        for (size_t i = 0; i < json_array_size(verbs); i++) {
                if (!begins_family(verbs, i))
                        continue;
                printf("if [[ $verb == %.*s ]]; then\n"
                       "        if (( CURRENT == 2 )); then\n"
                       "                compadd -- ",
                       (int)family_bytes(name_at(verbs, i)), name_at(verbs, i));
                print_family(verbs, i);
                printf("\n                return\n"
                       "        fi\n"
                       "        verb+=\" $words[2]\"\n"
                       "        shift words\n"
                       "        (( CURRENT-- ))\n"
                       "fi\n");
        }
}

static void print_zsh(const char *program, const json_t *verbs)
{
        const bool has_names = has_verb(verbs, "names");
        const json_t *verb;
        size_t i;

        printf("#compdef %s\n# Made by '%s completion zsh'.\nlocal -a verbs\nlocal verb\nverbs=(\n",
               program, program);
        json_array_foreach(verbs, i, verb)
        {
                if (!is_first(verbs, i))
                        continue;
                printf("        '%.*s:", (int)family_bytes(name_at(verbs, i)), name_at(verbs, i));
                print_zsh_text(begins_family(verbs, i) ? "Verbs of their own stand behind it."
                                                       : text_of(verb, "summary"));
                printf("'\n");
        }
        printf("        'completion:Prints the completion of a shell.'\n)\n"
               "if (( CURRENT == 2 )); then\n        _describe verb verbs\n        return\nfi\n"
               "shift words\n(( CURRENT-- ))\nverb=$words[1]\n");
        print_zsh_families(verbs);
        printf("case $verb in\n");
        json_array_foreach(verbs, i, verb) print_zsh_verb(program, verb, has_names);
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
