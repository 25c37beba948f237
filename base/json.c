/* SPDX-License-Identifier: GPL-3.0-or-later */
/* json - strict parsing and getters on jansson. */
#include "base/json.h"

#include <malloc.h>

#include "base/secret.h"

#define JSON_MAX_BYTES ((size_t)16 << 20)

static void wiping_free(void *p)
{
        if (p)
                bth_wipe(p, malloc_usable_size(p));
        free(p);
}

void bth_json_wipe_freed(void)
{
        json_set_alloc_funcs(malloc, wiping_free);
}

static int parse(const char *text, size_t n, json_t **ret_json, struct bth_error *error)
{
        json_error_t e;

        if (n > JSON_MAX_BYTES)
                return bth_error_set(error, -EFBIG, BTH_REASON_TOO_LARGE,
                                     "the JSON text has %zu bytes, %zu are allowed", n,
                                     JSON_MAX_BYTES);
        *ret_json = json_loadb(text, n, JSON_REJECT_DUPLICATES, &e);
        if (*ret_json)
                return 0;
        if (json_error_code(&e) == json_error_out_of_memory)
                return -ENOMEM;
        bth_error_at(error, NULL, (uint64_t)MAX(e.line, 0), BTH_ERROR_NO_OFFSET);
        return bth_error_set(error, -EBADMSG, BTH_REASON_SYNTAX, "this is not JSON (column %d: %s)",
                             e.column, e.text);
}

int bth_json_parse(const char *text, size_t n, json_t **ret_json, struct bth_error *error)
{
        _cleanup_json_ json_t *j = NULL;
        int r = parse(text, n, &j, error);

        if (r == 0 && !json_is_object(j))
                r = bth_error_set(error, -EBADMSG, BTH_REASON_SYNTAX,
                                  "a JSON object is expected here");
        if (r == 0)
                *ret_json = take_ptr(j);
        return r;
}

int bth_json_parse_array(const char *text, size_t n, json_t **ret_json, struct bth_error *error)
{
        _cleanup_json_ json_t *j = NULL;
        int r = parse(text, n, &j, error);

        if (r == 0 && !json_is_array(j))
                r = bth_error_set(error, -EBADMSG, BTH_REASON_SYNTAX,
                                  "a JSON array is expected here");
        if (r == 0)
                *ret_json = take_ptr(j);
        return r;
}

static const json_t *get(const json_t *object, const char *key)
{
        const json_t *v = json_object_get(object, key);

        return json_is_null(v) ? NULL : v;
}

int bth_json_get_string(const json_t *object, const char *key, const char **ret_text)
{
        const json_t *v = get(object, key);

        if (!v)
                return -ENOENT;
        if (!json_is_string(v))
                return -EBADMSG;
        *ret_text = json_string_value(v);
        return 0;
}

int bth_json_get_u64(const json_t *object, const char *key, uint64_t *ret_value)
{
        const json_t *v = get(object, key);

        if (!v)
                return -ENOENT;
        if (!json_is_integer(v) || json_integer_value(v) < 0)
                return -EBADMSG;
        *ret_value = (uint64_t)json_integer_value(v);
        return 0;
}

int bth_json_get_bool(const json_t *object, const char *key, bool *ret_value)
{
        const json_t *v = get(object, key);

        if (!v)
                return -ENOENT;
        if (!json_is_boolean(v))
                return -EBADMSG;
        *ret_value = json_is_true(v);
        return 0;
}

char *bth_json_to_text(const json_t *j)
{
        return json_dumps(j, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_SORT_KEYS);
}
