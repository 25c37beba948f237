/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/ini.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"

#define KEYS_MAX 256 /* of one section */

struct reading {
        const char *object;
        dmn_ini_fn fn;
        void *userdata;
        struct bth_error *error;
        uint64_t line;
        char *section, *name; /* of the section that is open; NULL: none yet */
        char *keys[KEYS_MAX]; /* seen in it */
        size_t n_keys;
};

static int complain(const struct reading *r, const char *sentence)
{
        bth_error_at(r->error, r->object, r->line, BTH_ERROR_NO_OFFSET);
        return bth_error_set(r->error, -EBADMSG, BTH_REASON_SYNTAX, "%s", sentence);
}

static void close_section(struct reading *r)
{
        while (r->n_keys > 0)
                free(r->keys[--r->n_keys]);
        free(take_ptr(r->section));
        free(take_ptr(r->name));
}

static int tell(struct reading *r, const char *key, const char *value)
{
        const struct dmn_ini_entry e = { r->section, r->name, key, value, r->line };
        int q;

        bth_error_at(r->error, r->object, r->line, BTH_ERROR_NO_OFFSET);
        q = r->fn(r->userdata, &e, r->error);
        return q;
}

/* Cuts blanks off both ends, in place. */
static char *trim(char *text)
{
        size_t n;

        text += strspn(text, " \t");
        n = strlen(text);
        while (n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\t'))
                text[--n] = '\0';
        return text;
}

static bool is_word(const char *text)
{
        return text[0] != '\0' &&
               strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(text);
}

static int open_section(struct reading *r, char *line)
{
        const size_t n = strlen(line);
        char *kind = line + 1, *name;

        if (line[n - 1] != ']')
                return complain(r, "the section's name is not closed by ']'");
        line[n - 1] = '\0';
        kind = trim(kind);
        name = kind + strcspn(kind, " \t");
        if (*name != '\0') {
                *name++ = '\0';
                name = trim(name);
        }
        if (!is_word(kind))
                return complain(r,
                                "a section is named by small letters, as in [station] or [bay 1]");
        close_section(r);
        r->section = strdup(kind);
        r->name = strdup(name);
        if (!r->section || !r->name)
                return -ENOMEM;
        return tell(r, NULL, NULL);
}

static int take_key(struct reading *r, char *line)
{
        char *sign = strchr(line, '='), *key, *value;

        if (!sign)
                return complain(r, "this is neither a [section], nor a key with '=' and a value, "
                                   "nor a comment");
        *sign = '\0';
        key = trim(line);
        value = trim(sign + 1);
        if (!is_word(key))
                return complain(r, "a key has small letters, digits and '_' only");
        if (!r->section)
                return complain(r, "a key stands before the first [section]");
        for (size_t i = 0; i < r->n_keys; i++)
                if (strcmp(r->keys[i], key) == 0)
                        return complain(r, "the key is given twice in this section");
        if (r->n_keys == KEYS_MAX)
                return complain(r, "the section has too many keys");
        r->keys[r->n_keys] = strdup(key);
        if (!r->keys[r->n_keys])
                return -ENOMEM;
        r->n_keys++;
        return tell(r, key, value);
}

static int take_line(struct reading *r, char *line, size_t n)
{
        if (n > 0 && line[n - 1] == '\r')
                line[--n] = '\0';
        for (size_t i = 0; i < n; i++)
                if (((unsigned char)line[i] < 0x20 && line[i] != '\t') || line[i] == 0x7f)
                        return complain(r, "the line has a control character");
        if (!bth_utf8_valid(line, n))
                return complain(r, "the line is not UTF-8");
        line = trim(line);
        if (line[0] == '\0' || line[0] == '#' || line[0] == ';')
                return 0;
        return line[0] == '[' ? open_section(r, line) : take_key(r, line);
}

int dmn_ini_parse(const char *text, size_t n, const char *object, dmn_ini_fn fn, void *userdata,
                  struct bth_error *error)
{
        struct reading reading = {
                .object = object, .fn = fn, .userdata = userdata, .error = error
        };
        int r = 0;

        if (n > DMN_INI_MAX_BYTES) {
                bth_error_at(error, object, 0, BTH_ERROR_NO_OFFSET);
                return bth_error_set(error, -EFBIG, BTH_REASON_TOO_LARGE,
                                     "a configuration of more than 1 MiB is none");
        }
        for (size_t at = 0; r == 0 && at < n;) {
                const char *end = memchr(text + at, '\n', n - at);
                const size_t length = end ? (size_t)(end - text) - at : n - at;
                _cleanup_free_ char *line = strndup(text + at, length);

                reading.line++;
                if (!line)
                        r = -ENOMEM;
                else if (strlen(line) != length)
                        r = complain(&reading, "the line has a control character");
                else
                        r = take_line(&reading, line, length);
                at += length + 1;
        }
        close_section(&reading);
        if (r == -ENOMEM)
                return bth_error_set(error, r, BTH_REASON_OUT_OF_MEMORY,
                                     "no memory for the configuration");
        return r;
}
