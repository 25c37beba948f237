/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/verbs.h"

static const dmn_verb_fn functions[_DMN_VERB_MAX] = {
        NULL,
};

void dmn_verb_call(struct dmn_station *s, struct dmn_call *c)
{
        const struct dmn_verb_info *info = dmn_verb_info(c->verb);

        if (!info || !functions[c->verb])
                dmn_call_refuse(c, -ENOENT, BTH_REASON_UNSUPPORTED, "there is no such verb");
        else if (c->right < info->right)
                dmn_call_refuse(c, -EACCES, BTH_REASON_REFUSED, "this needs the right to %s",
                                dmn_right_to_string(info->right));
        else
                functions[c->verb](s, c);
}
