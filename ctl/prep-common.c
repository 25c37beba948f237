/* SPDX-License-Identifier: GPL-3.0-or-later */
/* prep-common - findings and keys, which several verbs of berth-prep take. */
#include "base/str.h"
#include "ctl/prep.h"

#define KEY_MAX_BYTES 4096

enum ctl_exit ctl_usage(const struct ctl_context *c, const char *sentence)
{
        fprintf(stderr, "%s %s: %s. See '%s %s --help'.\n", c->program, c->verb->name, sentence,
                c->program, c->verb->name);
        return CTL_EXIT_USAGE;
}

enum ctl_exit ctl_end_failed(struct ctl_context *c, int r, struct bth_error *error)
{
        if (error->code == 0)
                (void)bth_error_set(error, r,
                                    r == -ENOMEM ? BTH_REASON_OUT_OF_MEMORY : BTH_REASON_INTERNAL,
                                    "it could not be done: %s", bth_strerror(r));
        ctl_fail(c, error);
        return error->reason == BTH_REASON_USAGE ? CTL_EXIT_USAGE : CTL_EXIT_FAILED;
}

void ctl_findings_take(void *userdata, const struct med_finding *f)
{
        struct ctl_findings *t = userdata;
        json_t *list = json_object_get(t->context->report, "findings");
        char text[2048];

        if (f->severity == MED_SEVERITY_ERROR)
                t->n_errors++;
        else
                t->n_warnings++;
        fprintf(stderr, "%s\n", med_finding_to_string(f, text, sizeof text));
        if (!list) {
                list = json_array();
                ctl_report(t->context, "findings", list);
        }
        (void)json_array_append_new(
                list, json_pack("{s:s, s:s, s:s, s:I, s:s*, s:s, s:s}", "severity",
                                f->severity == MED_SEVERITY_ERROR ? "error" : "warning", "name",
                                f->name, "file", f->object, "line", (json_int_t)f->line, "blob",
                                f->blob, "sentence", f->sentence, "advice", f->advice));
}

int ctl_key_read(const struct ctl_key_options *k, struct cry_credential *ret_credential,
                 struct bth_secret **ret_secret, struct bth_error *error)
{
        const struct {
                const char *path;
                enum cry_credential_kind kind;
                bool trim;
        } choices[] = {
                { k->recovery_file, CRY_CREDENTIAL_RECOVERY_PASSWORD, true },
                { k->external_file, CRY_CREDENTIAL_EXTERNAL_KEY, false },
                { k->password_file, CRY_CREDENTIAL_PASSWORD, true },
        };
        int r = 0, chosen = -1;

        for (size_t i = 0; i < ARRAY_SIZE(choices); i++) {
                if (!choices[i].path)
                        continue;
                if (chosen >= 0)
                        return bth_error_set(error, -EINVAL, BTH_REASON_USAGE,
                                             "more than one key was given");
                chosen = (int)i;
        }
        *ret_credential = (struct cry_credential){ .kind = CRY_CREDENTIAL_NONE };
        if (chosen < 0)
                return 0;
        r = bth_secret_new_from_file(choices[chosen].path, KEY_MAX_BYTES, choices[chosen].trim,
                                     ret_secret);
        if (r < 0) {
                bth_error_at(error, choices[chosen].path, 0, BTH_ERROR_NO_OFFSET);
                (void)bth_error_set(error, r, BTH_REASON_FILE_UNREADABLE,
                                    "the key cannot be read: %s",
                                    r == -EPERM ? "others may read it" : bth_strerror(r));
                if (r == -EPERM)
                        bth_error_advise(error, "chmod 600 the file");
                return r;
        }
        /* The text of a journal may end with a line end; a .BEK file is exactly as long as it is.
         */
        if (choices[chosen].kind == CRY_CREDENTIAL_EXTERNAL_KEY &&
            (*ret_secret)->length_bytes == 45 && (*ret_secret)->data[44] == '\n')
                bth_secret_truncate(*ret_secret, 44);
        *ret_credential =
                (struct cry_credential){ .kind = choices[chosen].kind, .secret = *ret_secret };
        return 0;
}
