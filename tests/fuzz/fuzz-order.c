/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A frame's bytes, read as each message; what is accepted must come out the same again. */
#include <string.h>

#include "base/order.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        _cleanup_(bth_frame_freep) struct bth_frame *f = NULL, *again = NULL;
        _cleanup_message_ struct bth_message m = { .type = BTH_MESSAGE_STOP };
        _cleanup_message_ struct bth_message second = { .type = BTH_MESSAGE_STOP };
        struct bth_error error = BTH_ERROR_INIT;
        int r;

        if (bth_frame_parse(data, n, &f) < 0)
                return 0;
        r = bth_message_from_frame(f, &m, &error);
        if (r < 0) {
                if (r != -EBADMSG && r != -ENOMEM)
                        abort();
                return 0;
        }
        if (bth_message_to_frame(&m, &again) < 0 ||
            bth_message_from_frame(again, &second, &error) < 0 || second.type != m.type)
                abort();
        if (m.type == BTH_MESSAGE_OUTCOME &&
            (strcmp(m.outcome.blob_path, second.outcome.blob_path) != 0 ||
             m.outcome.status != second.outcome.status))
                abort();
        return 0;
}
