/* SPDX-License-Identifier: GPL-3.0-or-later */
/* content-type - see content-type.h. */
#include "uploader/content-type.h"

#include <string.h>

#include "base/str.h"

struct row {
        const char *extension, *type;
};

/* Sorted by extension. */
static const struct row rows[] = {
        { "7z", "application/x-7z-compressed" },
        { "aac", "audio/aac" },
        { "avi", "video/x-msvideo" },
        { "avif", "image/avif" },
        { "bmp", "image/bmp" },
        { "bz2", "application/x-bzip2" },
        { "css", "text/css" },
        { "csv", "text/csv" },
        { "doc", "application/msword" },
        { "docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document" },
        { "epub", "application/epub+zip" },
        { "flac", "audio/flac" },
        { "gif", "image/gif" },
        { "gz", "application/gzip" },
        { "htm", "text/html" },
        { "html", "text/html" },
        { "ico", "image/vnd.microsoft.icon" },
        { "ics", "text/calendar" },
        { "jpeg", "image/jpeg" },
        { "jpg", "image/jpeg" },
        { "js", "text/javascript" },
        { "json", "application/json" },
        { "jsonl", "application/jsonl" },
        { "m4a", "audio/mp4" },
        { "md", "text/markdown" },
        { "mkv", "video/x-matroska" },
        { "mov", "video/quicktime" },
        { "mp3", "audio/mpeg" },
        { "mp4", "video/mp4" },
        { "mpeg", "video/mpeg" },
        { "odp", "application/vnd.oasis.opendocument.presentation" },
        { "ods", "application/vnd.oasis.opendocument.spreadsheet" },
        { "odt", "application/vnd.oasis.opendocument.text" },
        { "ogg", "audio/ogg" },
        { "parquet", "application/vnd.apache.parquet" },
        { "pdf", "application/pdf" },
        { "png", "image/png" },
        { "ppt", "application/vnd.ms-powerpoint" },
        { "pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation" },
        { "rtf", "application/rtf" },
        { "svg", "image/svg+xml" },
        { "tar", "application/x-tar" },
        { "tif", "image/tiff" },
        { "tiff", "image/tiff" },
        { "tsv", "text/tab-separated-values" },
        { "txt", "text/plain" },
        { "wav", "audio/wav" },
        { "webm", "video/webm" },
        { "webp", "image/webp" },
        { "xhtml", "application/xhtml+xml" },
        { "xls", "application/vnd.ms-excel" },
        { "xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" },
        { "xml", "application/xml" },
        { "xz", "application/x-xz" },
        { "yaml", "application/yaml" },
        { "yml", "application/yaml" },
        { "zip", "application/zip" },
        { "zst", "application/zstd" },
};

static int compare_row(const void *key, const void *row)
{
        return bth_ascii_casecmp(key, ((const struct row *)row)->extension);
}

const char *upl_content_type_of(const char *name)
{
        const char *dot = strrchr(name, '.');
        const struct row *found;

        if (!dot || strchr(dot, '/') || dot == name || dot[-1] == '/')
                return NULL;
        found = bsearch(dot + 1, rows, ARRAY_SIZE(rows), sizeof rows[0], compare_row);
        return found ? found->type : NULL;
}
