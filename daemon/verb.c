/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/verb.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

static const char *const rights[] = { "none", "read", "operate", "admin", "station" };

static const struct dmn_verb_info infos[] = {
#define X(id, method, path, right, sentence) { #id, method, path, sentence, DMN_RIGHT_##right },
        DMN_VERBS(X)
#undef X
};

const char *dmn_right_to_string(enum dmn_right r)
{
        return (size_t)r < ARRAY_SIZE(rights) ? rights[r] : NULL;
}

enum dmn_right dmn_right_from_string(const char *name)
{
        for (size_t i = 0; name && i < ARRAY_SIZE(rights); i++)
                if (strcmp(name, rights[i]) == 0)
                        return (enum dmn_right)i;
        return _DMN_RIGHT_INVALID;
}

const struct dmn_verb_info *dmn_verb_info(enum dmn_verb v)
{
        return (size_t)v < ARRAY_SIZE(infos) ? &infos[v] : NULL;
}

bool dmn_right_allows(enum dmn_right have, enum dmn_right need)
{
        if (have == DMN_RIGHT_STATION || need == DMN_RIGHT_STATION)
                return need == DMN_RIGHT_NONE || have == need ||
                       (have == DMN_RIGHT_ADMIN && need == DMN_RIGHT_STATION);
        return have >= need;
}

int dmn_call_new(enum dmn_verb verb, const char *who, enum dmn_right right, const char *target,
                 json_t *query, json_t *body, struct dmn_call **ret_call)
{
        struct dmn_call *c = calloc(1, sizeof *c);

        if (!c) {
                json_decref(query);
                json_decref(body);
                return -ENOMEM;
        }
        c->verb = verb;
        c->right = right;
        c->query = query ? query : json_object();
        c->body = body;
        c->who = strdup(who);
        c->target = target ? strdup(target) : NULL;
        if (!c->query || !c->who || (target && !c->target)) {
                (void)dmn_call_free(c);
                return -ENOMEM;
        }
        *ret_call = c;
        return 0;
}

/* Journals hold keys, and jansson frees without wiping: what it holds is overwritten in place. */
static void wipe(json_t *j)
{
        const char *key;
        json_t *value;
        size_t i;

        json_object_foreach(j, key, value) wipe(value);
        json_array_foreach(j, i, value) wipe(value);
        if (json_is_string(j))
                explicit_bzero((char *)json_string_value(j), json_string_length(j));
}

struct dmn_call *dmn_call_free(struct dmn_call *c)
{
        if (!c)
                return NULL;
        if (c->body)
                wipe(c->body);
        json_decref(c->body);
        json_decref(c->query);
        bth_buf_clear(&c->list);
        free(c->target);
        free(c->who);
        free(c);
        return NULL;
}

char *dmn_call_written(const struct dmn_call *c, const json_t *answer)
{
        _cleanup_buf_ struct bth_buf b = BTH_BUF_INIT;
        _cleanup_free_ char *rest = bth_json_to_text(answer);
        int r = rest ? 0 : -ENOMEM;

        if (!c->list_name || r < 0)
                return take_ptr(rest);
        r = bth_buf_add_format(&b, "{\"%s\":[", c->list_name);
        if (r == 0 && c->list.length > 0)
                r = bth_buf_add(&b, c->list.data, c->list.length);
        if (r == 0)
                r = bth_buf_add_format(&b, "]%s%s", json_object_size(answer) > 0 ? "," : "",
                                       rest + 1);
        return r < 0 ? NULL : take_ptr(b.data);
}

static json_t *list_of(const struct dmn_call *c)
{
        _cleanup_free_ char *text = NULL;
        json_t *list = NULL;

        if (asprintf(&text, "[%s]", c->list.data ? c->list.data : "") < 0)
                text = NULL;
        return text && bth_json_parse_array(text, strlen(text), &list, NULL) == 0 ? list : NULL;
}

static void end(struct dmn_call *c, int r, json_t *answer, const struct bth_error *error)
{
        if (r == 0 && c->list_name && !c->takes_lists)
                (void)json_object_set_new(answer, c->list_name, list_of(c));
        if (c->reply)
                c->reply(c->userdata, r, answer, error);
        (void)dmn_call_free(c);
}

void dmn_call_answer(struct dmn_call *c, json_t *answer)
{
        if (!answer) {
                dmn_call_refuse(c, -ENOMEM, BTH_REASON_OUT_OF_MEMORY, "no memory for the answer");
                return;
        }
        end(c, 0, answer, NULL);
        json_decref(answer);
}

void dmn_call_fail(struct dmn_call *c, const struct bth_error *error)
{
        end(c, error->code < 0 ? error->code : -EIO, NULL, error);
}

void dmn_call_refuse(struct dmn_call *c, int code, enum bth_reason reason, const char *format, ...)
{
        struct bth_error error = BTH_ERROR_INIT;
        char sentence[sizeof error.sentence];
        va_list list;

        va_start(list, format);
        (void)vsnprintf(sentence, sizeof sentence, format, list);
        va_end(list);
        (void)bth_error_set(&error, code, reason, "%s", sentence);
        dmn_call_fail(c, &error);
}

/* -- members
 * ------------------------------------------------------------------------------------------ */

static json_t *member_of(const struct dmn_call *c, const char *member)
{
        json_t *j = json_object_get(c->body, member);

        return j ? j : json_object_get(c->query, member);
}

static int wrong(struct bth_error *error, const char *member, const char *kind)
{
        return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID, "'%s' has to be %s", member,
                             kind);
}

int dmn_call_text(const struct dmn_call *c, const char *member, const char **text,
                  struct bth_error *error)
{
        const json_t *j = member_of(c, member);

        if (!j || json_is_null(j))
                return 0;
        if (!json_is_string(j) || strlen(json_string_value(j)) != json_string_length(j))
                return wrong(error, member, "a text");
        *text = json_string_value(j);
        return 0;
}

int dmn_call_u64(const struct dmn_call *c, const char *member, uint64_t *value,
                 struct bth_error *error)
{
        const json_t *j = member_of(c, member);

        if (!j || json_is_null(j))
                return 0;
        if (json_is_integer(j) && json_integer_value(j) >= 0) {
                *value = (uint64_t)json_integer_value(j);
                return 0;
        }
        if (j == json_object_get(c->query, member) &&
            bth_parse_u64(json_string_value(j), value) == 0)
                return 0;
        return wrong(error, member, "a whole number from 0");
}

int dmn_call_bool(const struct dmn_call *c, const char *member, bool *value,
                  struct bth_error *error)
{
        const json_t *j = member_of(c, member);

        if (!j || json_is_null(j))
                return 0;
        if (json_is_boolean(j)) {
                *value = json_is_true(j);
                return 0;
        }
        if (j == json_object_get(c->query, member) && strcmp(json_string_value(j), "true") == 0)
                *value = true;
        else if (j == json_object_get(c->query, member) &&
                 strcmp(json_string_value(j), "false") == 0)
                *value = false;
        else
                return wrong(error, member, "true or false");
        return 0;
}

static int check_members(json_t *object, const char *const *names, struct bth_error *error)
{
        const char *key;
        json_t *value;

        json_object_foreach(object, key, value)
        {
                size_t i = 0;

                while (names[i] && strcmp(names[i], key) != 0)
                        i++;
                if (!names[i])
                        return bth_error_set(error, -EINVAL, BTH_REASON_VALUE_INVALID,
                                             "there is no member '%s' here", key);
        }
        return 0;
}

int dmn_call_members(const struct dmn_call *c, const char *const *names, struct bth_error *error)
{
        int r = check_members(c->query, names, error);

        return r < 0 ? r : check_members(c->body, names, error);
}
