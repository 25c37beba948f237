/* SPDX-License-Identifier: GPL-3.0-or-later */
/* xml - libxml2's push parser behind limits of ours. */
#include <malloc.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <libxml/SAX2.h>

#include "base/secret.h"
#include "base/str.h"
#include "media/xml.h"

#define FEED_BYTES   ((size_t)64 << 10)
#define PROLOG_BYTES 1024 /* longest byte order mark, blanks and declaration of a fragment file */
#define DETECT_BYTES 4    /* libxml2 wants four bytes to tell the encoding */
#define VIRTUAL_ROOT "fragments"

struct med_xml {
        const struct med_xml_handler *handler;
        void *userdata;
        char *object;
        enum med_xml_flags flags;
        xmlParserCtxtPtr context;
        unsigned depth;
        bool any_element;
        bool finished;
        int failed;              /* negative errno; nothing is fed any more */
        struct bth_error *error; /* of the feed under way */
        struct bth_buf head;     /* first bytes, until the parser can be made */
};

/* -- memory that is wiped
 * ---------------------------------------------------------------------------- */

static void wiping_free(void *p)
{
        if (p)
                bth_wipe(p, malloc_usable_size(p));
        free(p);
}

static void *wiping_realloc(void *p, size_t n)
{
        void *fresh = malloc(n > 0 ? n : 1);

        if (!fresh)
                return NULL;
        if (p) {
                memcpy(fresh, p, MIN(n, malloc_usable_size(p)));
                wiping_free(p);
        }
        return fresh;
}

static void set_up_library(void)
{
        (void)xmlMemSetup(wiping_free, malloc, wiping_realloc, strdup);
        xmlInitParser();
}

/* -- failing
 * ----------------------------------------------------------------------------------------- */

uint64_t med_xml_line(const struct med_xml *x)
{
        return x->context && x->context->input && x->context->input->line > 0
                       ? (uint64_t)x->context->input->line
                       : 0;
}

static void stop(struct med_xml *x, int r)
{
        if (x->failed == 0)
                x->failed = r;
        if (x->context)
                xmlStopParser(x->context);
}

static void refuse(struct med_xml *x, enum bth_reason reason, const char *what)
{
        if (x->failed < 0)
                return;
        bth_error_at(x->error, x->object, med_xml_line(x), BTH_ERROR_NO_OFFSET);
        stop(x, bth_error_set(x->error, -EBADMSG, reason, "%s", what));
}

static void on_library_error(void *userdata, xmlErrorPtr e)
{
        struct med_xml *x = ((xmlParserCtxtPtr)userdata)->_private;
        size_t n = e->message ? strcspn(e->message, "\r\n") : 0;
        uint64_t line = e->line > 0 ? (uint64_t)e->line : med_xml_line(x);

        if (x->failed < 0 || e->level == XML_ERR_WARNING)
                return;
        bth_error_at(x->error, x->object, line, BTH_ERROR_NO_OFFSET);
        if (e->code == XML_ERR_NO_MEMORY)
                stop(x, -ENOMEM);
        else
                stop(x, bth_error_set(x->error, -EBADMSG, BTH_REASON_XML_SYNTAX,
                                      "it is not well-formed XML: %.*s", (int)MIN(n, (size_t)200),
                                      e->message ? e->message : ""));
}

/* -- callbacks of the library
 * ------------------------------------------------------------------------ */

static bool encoding_allowed(const xmlChar *encoding)
{
        static const char *const allowed[] = { "UTF-8",  "UTF8",     "US-ASCII", "ASCII",
                                               "UTF-16", "UTF-16LE", "UTF-16BE" };

        for (size_t i = 0; encoding && i < ARRAY_SIZE(allowed); i++)
                if (bth_ascii_casecmp((const char *)encoding, allowed[i]) == 0)
                        return true;
        return !encoding;
}

static void on_start(void *userdata, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri,
                     int n_namespaces, const xmlChar **namespaces, int n_attributes,
                     int n_defaulted, const xmlChar **attributes)
{
        struct med_xml *x = ((xmlParserCtxtPtr)userdata)->_private;
        const struct med_xml_attributes list = { .raw = attributes, .n = (size_t)n_attributes };
        int r = 0;

        if (x->failed < 0)
                return;
        if (!x->any_element && !encoding_allowed(x->context->encoding)) {
                refuse(x, BTH_REASON_NOT_TEXT, "its encoding is neither UTF-8 nor UTF-16");
                return;
        }
        x->any_element = true;
        if (x->depth++ == 0 && (x->flags & MED_XML_FRAGMENTS))
                return;
        if (x->depth > MED_XML_MAX_DEPTH) {
                refuse(x, BTH_REASON_LIMIT_EXCEEDED, "elements are nested more than 64 deep");
                return;
        }
        if (x->handler->start)
                r = x->handler->start(x->userdata, (const char *)name, &list, med_xml_line(x));
        if (r < 0)
                stop(x, r);
}

static void on_text(void *userdata, const xmlChar *text, int n)
{
        struct med_xml *x = ((xmlParserCtxtPtr)userdata)->_private;
        int r = 0;

        if (x->failed == 0 && n > 0 && x->handler->text)
                r = x->handler->text(x->userdata, (const char *)text, (size_t)n);
        if (r < 0)
                stop(x, r);
}

static void on_end(void *userdata, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri)
{
        struct med_xml *x = ((xmlParserCtxtPtr)userdata)->_private;
        int r = 0;

        if (x->failed < 0)
                return;
        if (--x->depth == 0 && (x->flags & MED_XML_FRAGMENTS))
                return;
        if (x->handler->end)
                r = x->handler->end(x->userdata, (const char *)name, med_xml_line(x));
        if (r < 0)
                stop(x, r);
}

static void on_document_type(void *userdata, const xmlChar *name, const xmlChar *external_id,
                             const xmlChar *system_id)
{
        refuse(((xmlParserCtxtPtr)userdata)->_private, BTH_REASON_XML_FORBIDDEN,
               "a document type (DOCTYPE) is not allowed");
}

static xmlEntityPtr on_entity(void *userdata, const xmlChar *name)
{
        xmlEntityPtr known = xmlGetPredefinedEntity(name);

        if (!known)
                refuse(((xmlParserCtxtPtr)userdata)->_private, BTH_REASON_XML_FORBIDDEN,
                       "an entity other than &amp; &lt; &gt; &quot; &apos; is not allowed");
        return known;
}

static xmlParserInputPtr on_external(void *userdata, const xmlChar *public_id,
                                     const xmlChar *system_id)
{
        refuse(((xmlParserCtxtPtr)userdata)->_private, BTH_REASON_XML_FORBIDDEN,
               "a reference to another file is not allowed");
        return NULL;
}

/* -- the parser
 * -------------------------------------------------------------------------------------- */

int med_xml_new(const struct med_xml_handler *handler, void *userdata, const char *object,
                enum med_xml_flags flags, struct med_xml **ret_xml)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;
        _cleanup_(med_xml_freep) struct med_xml *x = NULL;

        (void)pthread_once(&once, set_up_library);
        x = calloc(1, sizeof *x);
        if (!x)
                return -ENOMEM;
        x->handler = handler;
        x->userdata = userdata;
        x->flags = flags;
        x->object = strdup(object ? object : "");
        if (!x->object)
                return -ENOMEM;
        *ret_xml = take_ptr(x);
        return 0;
}

struct med_xml *med_xml_free(struct med_xml *x)
{
        if (!x)
                return NULL;
        if (x->context) {
                xmlFreeDoc(x->context->myDoc);
                xmlFreeParserCtxt(x->context);
        }
        bth_wipe(x->head.data, x->head.allocated);
        bth_buf_clear(&x->head);
        free(x->object);
        free(x);
        return NULL;
}

static int make_parser(struct med_xml *x, const char *first, size_t n)
{
        xmlSAXHandler sax = {
                .initialized = XML_SAX2_MAGIC,
                .startElementNs = on_start,
                .endElementNs = on_end,
                .characters = on_text,
                .ignorableWhitespace = on_text,
                .cdataBlock = on_text,
                .internalSubset = on_document_type,
                .getEntity = on_entity,
                .resolveEntity = on_external,
                .serror = on_library_error,
        };

        x->context = xmlCreatePushParserCtxt(&sax, NULL, first, (int)n, NULL);
        if (!x->context)
                return -ENOMEM;
        x->context->_private = x;
        x->context->userData = x->context;
        (void)xmlCtxtUseOptions(x->context, XML_PARSE_NONET);
        return 0;
}

static int push(struct med_xml *x, const char *data, size_t n, bool last)
{
        while (x->failed == 0 && (n > 0 || last)) {
                size_t take = MIN(n, FEED_BYTES);
                bool end = last && take == n;
                int e = xmlParseChunk(x->context, data, (int)take, end);

                if (e != XML_ERR_OK && x->failed == 0 && !xmlCtxtGetLastError(x->context))
                        refuse(x, BTH_REASON_XML_SYNTAX, "it is not well-formed XML");
                data += take;
                n -= take;
                if (end)
                        break;
        }
        return x->failed;
}

/* Length of the byte order mark, blanks and XML declaration in front of fragments. */
static size_t prolog_length(const char *data, size_t n)
{
        const char *p = data, *end = data + n, *close;

        if (n >= 3 && memcmp(p, "\xef\xbb\xbf", 3) == 0)
                p += 3;
        while (p < end && strchr(" \t\r\n", *p))
                p++;
        if (end - p < 5 || memcmp(p, "<?xml", 5) != 0)
                return (size_t)(p - data);
        close = memmem(p, (size_t)(end - p), "?>", 2);
        return close ? (size_t)(close + 2 - data) : 0;
}

/* Makes the parser from the first bytes. In fragment mode the prolog goes and a root comes. */
static int begin(struct med_xml *x)
{
        const char *data = x->head.data ? x->head.data : "";
        size_t n = x->head.length, skip = 0;
        int r;

        if (x->flags & MED_XML_FRAGMENTS) {
                static const char root[] = "<" VIRTUAL_ROOT ">";

                skip = prolog_length(data, n);
                r = make_parser(x, root, DETECT_BYTES);
                if (r == 0)
                        r = push(x, root + DETECT_BYTES, sizeof root - 1 - DETECT_BYTES, false);
                /* Lines of the prolog count too. */
                for (size_t i = 0; r == 0 && i < skip; i++)
                        x->context->input->line += data[i] == '\n';
        } else {
                skip = MIN(n, (size_t)DETECT_BYTES);
                r = make_parser(x, data, skip);
        }
        if (r == 0 && n > skip)
                r = push(x, data + skip, n - skip, false);
        bth_wipe(x->head.data, x->head.length);
        x->head.length = 0;
        return r;
}

int med_xml_feed(struct med_xml *x, const void *data, size_t n, struct bth_error *error)
{
        const size_t want = x->flags & MED_XML_FRAGMENTS ? PROLOG_BYTES : DETECT_BYTES;
        int r;

        if (x->failed < 0)
                return x->failed;
        x->error = error;
        if (!x->context) {
                r = bth_buf_add(&x->head, data, n);
                if (r == 0 && x->head.length >= want)
                        r = begin(x);
        } else {
                r = push(x, data, n, false);
        }
        x->error = NULL;
        return r;
}

int med_xml_finish(struct med_xml *x, struct bth_error *error)
{
        static const char root_end[] = "</" VIRTUAL_ROOT ">";
        int r = x->failed;

        if (r < 0)
                return r;
        x->error = error;
        if (!x->context)
                r = begin(x);
        if (r == 0 && (x->flags & MED_XML_FRAGMENTS))
                r = push(x, root_end, sizeof root_end - 1, false);
        if (r == 0)
                r = push(x, "", 0, true);
        x->error = NULL;
        return r;
}

int med_xml_parse(const void *data, size_t n, const struct med_xml_handler *handler, void *userdata,
                  const char *object, enum med_xml_flags flags, struct bth_error *error)
{
        _cleanup_(med_xml_freep) struct med_xml *x = NULL;
        int r = med_xml_new(handler, userdata, object, flags, &x);

        if (r == 0)
                r = med_xml_feed(x, data, n, error);
        return r < 0 ? r : med_xml_finish(x, error);
}
