/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One run: the request to the worker, its messages, products and errors.
 */
#define _GNU_SOURCE
#include "shim.h"

#include <cpl.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

void fail(cpl_error_code code, const char *function, const char *file, unsigned line, const char *message)
{
    cpl_error_set_message_macro(function, code == CPL_ERROR_NONE ? CPL_ERROR_UNSPECIFIED : code, file, line, "%s",
                                message);
}

/* The terminal shows messages, not CPL errors, so that both are needed. */
static void complain(cpl_error_code code, const char *name, unsigned line, const char *message)
{
    cpl_msg_error(name, "%s", message);
    fail(code, "execute", __FILE__, line, message);
}

static void add_parameter(text *request, const cpl_parameter *parameter)
{
    char value[64];

    text_field(request, "param");
    text_field(request, cpl_parameter_get_name(parameter));
    text_field(request, cpl_parameter_get_default_flag(parameter) ? "1" : "0");
    switch (cpl_parameter_get_type(parameter)) {
    case CPL_TYPE_BOOL:
        text_field(request, cpl_parameter_get_bool(parameter) ? "true" : "false");
        break;
    case CPL_TYPE_INT:
        snprintf(value, sizeof value, "%d", cpl_parameter_get_int(parameter));
        text_field(request, value);
        break;
    case CPL_TYPE_DOUBLE:
        snprintf(value, sizeof value, "%.17g", cpl_parameter_get_double(parameter));
        text_field(request, value);
        break;
    default:
        text_field(request, cpl_parameter_get_string(parameter));
    }
    text_end(request);
}

static const char *group_name(cpl_frame_group group)
{
    return group == CPL_FRAME_GROUP_RAW ? "RAW"
         : group == CPL_FRAME_GROUP_CALIB ? "CALIB"
         : group == CPL_FRAME_GROUP_PRODUCT ? "PRODUCT" : "";
}

static cpl_frame_group group_value(const char *name)
{
    return !strcmp(name, "RAW") ? CPL_FRAME_GROUP_RAW
         : !strcmp(name, "CALIB") ? CPL_FRAME_GROUP_CALIB
         : !strcmp(name, "PRODUCT") ? CPL_FRAME_GROUP_PRODUCT : CPL_FRAME_GROUP_NONE;
}

static cpl_error_code code_value(const char *name)
{
    return !strcmp(name, "FILE_NOT_FOUND") ? CPL_ERROR_FILE_NOT_FOUND
         : !strcmp(name, "DATA_NOT_FOUND") ? CPL_ERROR_DATA_NOT_FOUND
         : !strcmp(name, "ILLEGAL_INPUT") ? CPL_ERROR_ILLEGAL_INPUT : CPL_ERROR_UNSPECIFIED;
}

static void write_request(text *request, cpl_recipe *recipe, const meta *description)
{
    const cpl_parameter *parameter;
    cpl_size i, count = cpl_frameset_get_size(recipe->frames);
    int debug = cpl_msg_get_level() == CPL_MSG_DEBUG || cpl_msg_get_log_level() == CPL_MSG_DEBUG;
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    locale_t before = plain != (locale_t)0 ? uselocale(plain) : (locale_t)0;

    text_field(request, "recipe");
    text_field(request, meta_text(description, "name"));
    text_field(request, meta_text(description, "file"));
    text_end(request);
    text_field(request, "level");
    text_field(request, debug ? "debug" : "info");
    text_end(request);
    for (parameter = cpl_parameterlist_get_first_const(recipe->parameters); parameter != NULL;
         parameter = cpl_parameterlist_get_next_const(recipe->parameters)) {
        add_parameter(request, parameter);
    }
    for (i = 0; i < count; i++) {
        const cpl_frame *frame = cpl_frameset_get_position_const(recipe->frames, i);
        text_field(request, "frame");
        text_field(request, cpl_frame_get_filename(frame));
        text_field(request, cpl_frame_get_tag(frame));
        text_field(request, group_name(cpl_frame_get_group(frame)));
        text_end(request);
    }
    text_field(request, "go");
    text_end(request);
    if (plain != (locale_t)0) {
        uselocale(before);
        freelocale(plain);
    }
}

static void show_message(const fields *line)
{
    const char *level = field(line, 1), *component = field(line, 2), *message = field(line, 3);

    if (!strcmp(level, "debug")) {
        cpl_msg_debug(component, "%s", message);
    } else if (!strcmp(level, "warning")) {
        cpl_msg_warning(component, "%s", message);
    } else if (!strcmp(level, "error")) {
        cpl_msg_error(component, "%s", message);
    } else {
        cpl_msg_info(component, "%s", message);
    }
}

static void add_product(cpl_recipe *recipe, const fields *line)
{
    const char *type = field(line, 3), *level = field(line, 5);
    cpl_frame *frame = cpl_frame_new();

    cpl_frame_set_filename(frame, field(line, 1));
    cpl_frame_set_tag(frame, field(line, 2));
    cpl_frame_set_type(frame, !strcmp(type, "TABLE") ? CPL_FRAME_TYPE_TABLE : CPL_FRAME_TYPE_IMAGE);
    cpl_frame_set_group(frame, CPL_FRAME_GROUP_PRODUCT);
    cpl_frame_set_level(frame, !strcmp(level, "FINAL") ? CPL_FRAME_LEVEL_FINAL : CPL_FRAME_LEVEL_INTERMEDIATE);
    cpl_frameset_insert(recipe->frames, frame);
}

/* Act on one reply. Returns 1 when the worker has told its exit status. */
static int take_reply(cpl_recipe *recipe, const fields *line, int *status)
{
    const char *kind = field(line, 0);

    if (!strcmp(kind, "message")) {
        show_message(line);
    } else if (!strcmp(kind, "group")) {
        cpl_frame *frame = cpl_frameset_get_position(recipe->frames, strtol(field(line, 1), NULL, 10));
        if (frame != NULL) {
            cpl_frame_set_group(frame, group_value(field(line, 2)));
        }
    } else if (!strcmp(kind, "product")) {
        add_product(recipe, line);
    } else if (!strcmp(kind, "error")) {
        fail(code_value(field(line, 1)), field(line, 2), field(line, 3),
             (unsigned)strtoul(field(line, 4), NULL, 10), field(line, 5));
    } else if (!strcmp(kind, "exit")) {
        *status = (int)strtol(field(line, 1), NULL, 10);
        return 1;
    }
    return 0;
}

static void explain_end(const char *name, const char *python, int wait_status)
{
    char message[1024];

    if (wait_status != -1 && WIFSIGNALED(wait_status)) {
        int number = WTERMSIG(wait_status);
        snprintf(message, sizeof message, "the recipe's process was ended by signal %d (%s)", number,
                 strsignal(number));
    } else if (wait_status != -1 && WEXITSTATUS(wait_status) == 127) {
        snprintf(message, sizeof message, "%s could not be started; run 'musetools plugins --install' again", python);
    } else {
        snprintf(message, sizeof message, "the recipe's process ended without an answer (exit status %d)",
                 wait_status == -1 ? -1 : WEXITSTATUS(wait_status));
    }
    complain(CPL_ERROR_UNSPECIFIED, name, __LINE__, message);
}

static int is_ready(const char *name, const char *path, int mode, const char *what)
{
    char message[1200];

    if (access(path, mode) == 0) {
        return 1;
    }
    snprintf(message, sizeof message, "%s %.900s is missing; run 'musetools plugins --install' again", what, path);
    complain(CPL_ERROR_FILE_NOT_FOUND, name, __LINE__, message);
    return 0;
}

int run_recipe(cpl_recipe *recipe, const meta *description)
{
    const char *name = meta_text(description, "name"), *script = meta_text(description, "worker");
    const char *python = getenv("MUSE_RECIPES_PYTHON");
    text request = {NULL, 0, 0};
    worker process;
    int status = -1, told = 0, wait_status;
    char *line;

    if (python == NULL || python[0] == '\0') {
        python = meta_text(description, "python");
    }
    if (!is_ready(name, python, X_OK, "the Python interpreter") || !is_ready(name, script, R_OK, "the worker")) {
        return -1;
    }
    if (worker_start(&process, python, script) != 0) {
        complain(CPL_ERROR_UNSPECIFIED, name, __LINE__, "no process could be started for the recipe");
        return -1;
    }
    write_request(&request, recipe, description);
    worker_send(&process, request.data, request.used); /* a worker that is gone shows in its replies */
    free(request.data);
    while (!told && (line = worker_line(&process)) != NULL) {
        fields *reply = fields_split(line);
        told = take_reply(recipe, reply, &status);
        fields_free(reply);
        free(line);
    }
    wait_status = worker_finish(&process);
    if (!told) {
        explain_end(name, python, wait_status);
        status = -1;
    }
    return status;
}
