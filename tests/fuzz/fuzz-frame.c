/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        _cleanup_(bth_frame_freep) struct bth_frame *f = NULL;

        if (bth_frame_parse(data, n, &f) < 0)
                return 0;
        for (uint16_t tag = 0; tag < 4; tag++) {
                _cleanup_(bth_secret_freep) struct bth_secret *s = NULL;
                _cleanup_free_ char *text = NULL;
                uint64_t v;
                int fd;

                (void)!bth_frame_get_string(f, tag, &text);
                (void)!bth_frame_get_u64(f, tag, &v);
                (void)!bth_frame_get_secret(f, tag, &s);
                if (bth_frame_take_fd(f, tag, &fd) == 0)
                        abort();
        }
        return 0;
}
