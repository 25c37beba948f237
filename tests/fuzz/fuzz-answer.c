/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The blob server's answers: the first byte says which reader gets the rest. */
#include <string.h>

#include "uploader/blob.h"
#include "uploader/retry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Lines "Name: value" as headers, then what reads them. */
static void headers(const char *text, size_t n)
{
        struct upl_headers h = { 0 };
        struct upl_blob_look look;

        while (n > 0) {
                const char *end = memchr(text, '\n', n), *colon;
                size_t length = end ? (size_t)(end - text) : n;
                _cleanup_free_ char *line = strndup(text, length);
                int r = 0;

                if (!line)
                        abort();
                colon = strchr(line, ':');
                if (colon) {
                        line[colon - line] = '\0';
                        r = upl_headers_set(&h, line, colon + 1 + (colon[1] == ' '));
                }
                if (r == -ENOMEM)
                        abort();
                text += MIN(length + 1, n);
                n -= MIN(length + 1, n);
        }
        if (upl_blob_look(&h, &look) == 0 && !look.etag)
                abort();
        (void)upl_retry_after_usec(upl_headers_get(&h, "Retry-After"), UINT64_C(1) << 50);
        upl_headers_clear(&h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct upl_remote_blocks blocks;
        struct upl_page_ranges ranges;
        struct upl_blob_items blobs;
        struct upl_container_names names;
        const char *text = (const char *)data + 1;
        char code[64];

        if (size < 1)
                return 0;
        switch (data[0]) {
        case 'b':
                if (upl_answer_blocks(text, size - 1, &blocks, NULL) == 0)
                        upl_remote_blocks_clear(&blocks);
                break;
        case 'p':
                if (upl_answer_page_ranges(text, size - 1, &ranges, NULL) == 0)
                        upl_page_ranges_clear(&ranges);
                break;
        case 'l':
                if (upl_answer_blobs(text, size - 1, &blobs, NULL) == 0)
                        upl_blob_items_clear(&blobs);
                break;
        case 'c':
                if (upl_answer_containers(text, size - 1, &names, NULL) == 0)
                        upl_container_names_clear(&names);
                break;
        case 'h':
                headers(text, size - 1);
                break;
        default: {
                struct bth_buf b = { (char *)(uintptr_t)text, size - 1, 0 };

                upl_answer_error_code(&b, code, sizeof code);
        }
        }
        return 0;
}
