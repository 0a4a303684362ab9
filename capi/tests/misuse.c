/* Calls every function wrongly (null, wrong order, wrong type, wrong size, wrong number) and asks for the status and for a text, then
 * rightly: misuse MODEL BACKEND PICTURE, the model being the digits that Rimlight ships. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rimlight.h"

static int failures = 0;

/* The call answers with this status, and every failure leaves a text. */
static void expect(RimlightStatus found, RimlightStatus wanted, const char *call, int line) {
    const char *text = rimlight_error_text();
    if (found != wanted || (wanted != RIMLIGHT_STATUS_OK && text[0] == 0)) {
        printf("misuse.c:%d: %s\n    answered '%s' instead of '%s': %s\n", line, call, rimlight_status_name(found),
               rimlight_status_name(wanted), text);
        failures++;
    }
}
#define EXPECT(status, call) expect((call), RIMLIGHT_STATUS_##status, #call, __LINE__)

static void must(int holds, const char *what, int line) {
    if (!holds) {
        printf("misuse.c:%d: not so: %s\n", line, what);
        failures++;
    }
}
#define MUST(condition) must((condition), #condition, __LINE__)

enum { F32 = RIMLIGHT_ELEMENT_TYPE_F32, I64 = RIMLIGHT_ELEMENT_TYPE_I64, TEXT = RIMLIGHT_ELEMENT_TYPE_STRING };
static float image[3 * 784], scores[30];

static void the_whole(void) {
    MUST(rimlight_abi_version() == RIMLIGHT_ABI_VERSION);
    MUST(strlen(rimlight_version()) > 0);
    MUST(rimlight_error_text()[0] == 0);
    MUST(strcmp(rimlight_status_name(RIMLIGHT_STATUS_WRONG_SIZE), "wrong size") == 0);
    MUST(strcmp(rimlight_status_name(-7), "unknown") == 0 && strcmp(rimlight_status_name(1000), "unknown") == 0);
    MUST(strcmp(rimlight_element_type_name(F32), "f32") == 0 && strcmp(rimlight_element_type_name(14), "unknown") == 0);
    MUST(rimlight_element_type_size(I64) == 8 && rimlight_element_type_size(-1) == 0);
    rimlight_model_free(NULL);
    rimlight_options_free(NULL);
    rimlight_device_free(NULL);
    rimlight_session_free(NULL);
}

static void models(const char *path) {
    RimlightModel *model = NULL;
    size_t n = 77;
    const RimlightDetails *details = NULL;
    EXPECT(NULL_POINTER, rimlight_model_open(NULL, &model));
    EXPECT(NULL_POINTER, rimlight_model_open(path, NULL));
    EXPECT(FILE, rimlight_model_open("no/such/file.onnx", &model));
    EXPECT(FILE, rimlight_model_open("", &model));
    EXPECT(INVALID_ARGUMENT, rimlight_model_open("\xff\xfe", &model));
    EXPECT(NULL_POINTER, rimlight_model_from_bytes(NULL, 4, &model));
    EXPECT(NULL_POINTER, rimlight_model_from_bytes(NULL, 0, &model));
    EXPECT(NULL_POINTER, rimlight_model_from_bytes("abc", 3, NULL));
    EXPECT(MODEL, rimlight_model_from_bytes("no model", 8, &model));
    EXPECT(MODEL, rimlight_model_from_bytes("", 0, &model));
    EXPECT(WRONG_SIZE, rimlight_model_from_bytes("x", SIZE_MAX, &model));
    MUST(model == NULL);
    EXPECT(NULL_POINTER, rimlight_model_input_count(NULL, &n));
    EXPECT(NULL_POINTER, rimlight_model_output_count(NULL, &n));
    EXPECT(NULL_POINTER, rimlight_model_input(NULL, 0, &details));
    EXPECT(NULL_POINTER, rimlight_model_output(NULL, 0, &details));
    EXPECT(NULL_POINTER, rimlight_model_input_index(NULL, "image", &n));
    EXPECT(NULL_POINTER, rimlight_model_output_index(NULL, "image", &n));

    EXPECT(OK, rimlight_model_open(path, &model));
    EXPECT(NULL_POINTER, rimlight_model_input_count(model, NULL));
    EXPECT(NULL_POINTER, rimlight_model_output_count(model, NULL));
    EXPECT(NULL_POINTER, rimlight_model_input(model, 0, NULL));
    EXPECT(NULL_POINTER, rimlight_model_output(model, 0, NULL));
    EXPECT(NOT_FOUND, rimlight_model_input(model, 1, &details));
    EXPECT(NOT_FOUND, rimlight_model_output(model, SIZE_MAX, &details));
    EXPECT(NULL_POINTER, rimlight_model_input_index(model, NULL, &n));
    EXPECT(NULL_POINTER, rimlight_model_input_index(model, "image", NULL));
    EXPECT(NOT_FOUND, rimlight_model_input_index(model, "imagine", &n));
    EXPECT(INVALID_ARGUMENT, rimlight_model_input_index(model, "\xff", &n));
    EXPECT(NULL_POINTER, rimlight_model_output_index(model, NULL, &n));
    EXPECT(NULL_POINTER, rimlight_model_output_index(model, "probabilities", NULL));
    EXPECT(NOT_FOUND, rimlight_model_output_index(model, "image", &n));
    MUST(n == 77 && details == NULL);

    const char *text = NULL;
    RimlightElementType type = 0;
    int64_t size = 0;
    EXPECT(OK, rimlight_model_input_index(model, "image", &n));
    MUST(n == 0);
    EXPECT(OK, rimlight_model_output_index(model, "probabilities", &n));
    EXPECT(OK, rimlight_model_output(model, n, &details));
    EXPECT(OK, rimlight_details_name(details, &text));
    MUST(strcmp(text, "probabilities") == 0);
    EXPECT(OK, rimlight_model_input_count(model, &n));
    MUST(n == 1);
    EXPECT(OK, rimlight_model_output_count(model, &n));
    MUST(n == 1);
    EXPECT(OK, rimlight_model_input(model, 0, &details));
    EXPECT(OK, rimlight_details_text(details, &text));
    printf("%s\n", text);

    EXPECT(NULL_POINTER, rimlight_details_name(NULL, &text));
    EXPECT(NULL_POINTER, rimlight_details_name(details, NULL));
    EXPECT(NULL_POINTER, rimlight_details_text(NULL, &text));
    EXPECT(NULL_POINTER, rimlight_details_text(details, NULL));
    EXPECT(NULL_POINTER, rimlight_details_type(NULL, &type));
    EXPECT(NULL_POINTER, rimlight_details_type(details, NULL));
    EXPECT(NULL_POINTER, rimlight_details_rank(NULL, &n));
    EXPECT(NULL_POINTER, rimlight_details_rank(details, NULL));
    EXPECT(NULL_POINTER, rimlight_details_size(NULL, 0, &size));
    EXPECT(NULL_POINTER, rimlight_details_size(details, 0, NULL));
    EXPECT(NOT_FOUND, rimlight_details_size(details, 4, &size));
    EXPECT(NULL_POINTER, rimlight_details_symbol(NULL, 0, &text));
    EXPECT(NULL_POINTER, rimlight_details_symbol(details, 0, NULL));
    EXPECT(NOT_FOUND, rimlight_details_symbol(details, 4, &text));
    EXPECT(NULL_POINTER, rimlight_details_bytes(NULL, &n));
    EXPECT(NULL_POINTER, rimlight_details_bytes(details, NULL));
    EXPECT(WRONG_ORDER, rimlight_details_bytes(details, &n));
    EXPECT(OK, rimlight_details_type(details, &type));
    EXPECT(OK, rimlight_details_rank(details, &n));
    MUST(type == F32 && n == 4);
    EXPECT(OK, rimlight_details_size(details, 0, &size));
    MUST(size == -1);
    EXPECT(OK, rimlight_details_symbol(details, 0, &text));
    MUST(strcmp(text, "N") == 0);
    EXPECT(OK, rimlight_details_size(details, 3, &size));
    MUST(size == 28);
    EXPECT(OK, rimlight_details_symbol(details, 3, &text));
    MUST(text[0] == 0);
    rimlight_model_free(model);
}

static RimlightOptions *options_for(const char *backend) {
    RimlightOptions *options = NULL;
    EXPECT(NULL_POINTER, rimlight_options_new(NULL));
    EXPECT(NULL_POINTER, rimlight_options_set_backend(NULL, RIMLIGHT_BACKEND_CPU));
    EXPECT(NULL_POINTER, rimlight_options_set_adapter(NULL, "x"));
    EXPECT(NULL_POINTER, rimlight_options_set_adapter(NULL, NULL));
    EXPECT(NULL_POINTER, rimlight_options_set_threads(NULL, 1));
    EXPECT(NULL_POINTER, rimlight_options_set_precision(NULL, RIMLIGHT_PRECISION_F32));
    EXPECT(NULL_POINTER, rimlight_options_set_cache_folder(NULL, "x"));
    EXPECT(NULL_POINTER, rimlight_options_set_dimension(NULL, "N", 1));
    EXPECT(OK, rimlight_options_new(&options));
    EXPECT(INVALID_ARGUMENT, rimlight_options_set_backend(options, 3));
    EXPECT(INVALID_ARGUMENT, rimlight_options_set_backend(options, -1));
    EXPECT(INVALID_ARGUMENT, rimlight_options_set_adapter(options, "\xff"));
    EXPECT(INVALID_ARGUMENT, rimlight_options_set_threads(options, SIZE_MAX));
    EXPECT(INVALID_ARGUMENT, rimlight_options_set_precision(options, 9));
    EXPECT(INVALID_ARGUMENT, rimlight_options_set_cache_folder(options, "\xff"));
    EXPECT(NULL_POINTER, rimlight_options_set_dimension(options, NULL, 1));
    EXPECT(WRONG_SIZE, rimlight_options_set_dimension(options, "N", SIZE_MAX));
    EXPECT(OK, rimlight_options_set_cache_folder(options, NULL));
    EXPECT(OK, rimlight_options_set_precision(options, RIMLIGHT_PRECISION_F32));
    EXPECT(OK, rimlight_options_set_threads(options, 2));
    EXPECT(OK, rimlight_options_set_backend(
                   options, strcmp(backend, "gpu") == 0 ? RIMLIGHT_BACKEND_GPU : RIMLIGHT_BACKEND_CPU));
    return options;
}

static RimlightDevice *device_of(const RimlightOptions *options, const char *backend) {
    RimlightOptions *none = NULL;
    RimlightDevice *device = NULL;
    RimlightBackend found = 0;
    const char *text = NULL;
    EXPECT(OK, rimlight_options_new(&none));
    EXPECT(OK, rimlight_options_set_adapter(none, "an adapter that nobody makes"));
    /* On the CPU nobody looks for drivers: under valgrind what they load is looked at too. */
    if (strcmp(backend, "gpu") == 0) EXPECT(DEVICE, rimlight_device_new(none, &device));
    EXPECT(NULL_POINTER, rimlight_device_new(options, NULL));
    EXPECT(NULL_POINTER, rimlight_device_backend(NULL, &found));
    EXPECT(NULL_POINTER, rimlight_device_name(NULL, &text));
    EXPECT(NULL_POINTER, rimlight_device_choice(NULL, &text));
    rimlight_options_free(none);
    MUST(device == NULL);
    EXPECT(OK, rimlight_device_new(options, &device));
    EXPECT(NULL_POINTER, rimlight_device_backend(device, NULL));
    EXPECT(NULL_POINTER, rimlight_device_name(device, NULL));
    EXPECT(NULL_POINTER, rimlight_device_choice(device, NULL));
    EXPECT(OK, rimlight_device_backend(device, &found));
    MUST(found == (strcmp(backend, "gpu") == 0 ? RIMLIGHT_BACKEND_GPU : RIMLIGHT_BACKEND_CPU));
    EXPECT(OK, rimlight_device_choice(device, &text));
    MUST(strlen(text) > 0);
    EXPECT(OK, rimlight_device_name(device, &text));
    printf("%s\n", text);
    return device;
}

static void nothing_without_a_session(void) {
    const RimlightDevice *device = NULL;
    const RimlightDetails *details = NULL;
    const void *data = NULL;
    RimlightBackend backend = 0;
    size_t n = 1;
    EXPECT(NULL_POINTER, rimlight_session_device(NULL, &device));
    EXPECT(NULL_POINTER, rimlight_session_backend(NULL, &backend));
    EXPECT(NULL_POINTER, rimlight_session_run(NULL));
    EXPECT(NULL_POINTER, rimlight_session_input(NULL, 0, &details));
    EXPECT(NULL_POINTER, rimlight_session_resize_input(NULL, 0, &n, 1));
    EXPECT(NULL_POINTER, rimlight_session_set_input(NULL, 0, F32, image, sizeof image));
    EXPECT(NULL_POINTER, rimlight_session_set_preprocessing(NULL, 0, "resize", "digit"));
    EXPECT(NULL_POINTER, rimlight_session_set_picture(NULL, 0, RIMLIGHT_PIXEL_FORMAT_RGB, image, 1, 1, 3));
    EXPECT(NULL_POINTER, rimlight_session_set_picture_file(NULL, 0, "x"));
    EXPECT(NULL_POINTER, rimlight_session_output(NULL, 0, &details));
    EXPECT(NULL_POINTER, rimlight_session_get_output(NULL, 0, F32, scores, sizeof scores));
    EXPECT(NULL_POINTER, rimlight_session_output_data(NULL, 0, F32, &data, &n));
}

static void inputs(RimlightSession *session, const char *picture) {
    const RimlightDetails *details = NULL;
    const size_t one[4] = {1, 1, 28, 28}, three[4] = {3, 1, 28, 28}, wide[4] = {1, 1, 28, 29}, huge[4] = {SIZE_MAX, 1, 28, 28},
                 many[4] = {SIZE_MAX / 2, 1, 28, 28};
    size_t n = 0;
    EXPECT(NULL_POINTER, rimlight_session_input(session, 0, NULL));
    EXPECT(NOT_FOUND, rimlight_session_input(session, 1, &details));
    /* Before the batch is known, and before anything was set. */
    EXPECT(WRONG_ORDER, rimlight_session_set_input(session, 0, F32, image, 784 * sizeof *image));
    EXPECT(WRONG_ORDER, rimlight_session_run(session));
    EXPECT(NULL_POINTER, rimlight_session_resize_input(session, 0, NULL, 4));
    EXPECT(NOT_FOUND, rimlight_session_resize_input(session, 1, one, 4));
    EXPECT(WRONG_SIZE, rimlight_session_resize_input(session, 0, one, 3));
    EXPECT(WRONG_SIZE, rimlight_session_resize_input(session, 0, NULL, 0));
    EXPECT(WRONG_SIZE, rimlight_session_resize_input(session, 0, one, SIZE_MAX));
    EXPECT(WRONG_SIZE, rimlight_session_resize_input(session, 0, wide, 4));
    EXPECT(WRONG_SIZE, rimlight_session_resize_input(session, 0, huge, 4));
    EXPECT(OK, rimlight_session_resize_input(session, 0, many, 4));
    EXPECT(WRONG_SIZE, rimlight_session_set_input(session, 0, F32, image, sizeof image));
    EXPECT(OK, rimlight_session_input(session, 0, &details));
    EXPECT(WRONG_SIZE, rimlight_details_bytes(details, &n));
    EXPECT(OK, rimlight_session_resize_input(session, 0, three, 4));
    EXPECT(OK, rimlight_session_input(session, 0, &details));
    EXPECT(OK, rimlight_details_bytes(details, &n));
    MUST(n == sizeof image);
    EXPECT(WRONG_TYPE, rimlight_session_set_input(session, 0, I64, image, sizeof image));
    EXPECT(UNSUPPORTED, rimlight_session_set_input(session, 0, TEXT, image, sizeof image));
    EXPECT(INVALID_ARGUMENT, rimlight_session_set_input(session, 0, 0, image, sizeof image));
    EXPECT(INVALID_ARGUMENT, rimlight_session_set_input(session, 0, 99, image, sizeof image));
    EXPECT(NULL_POINTER, rimlight_session_set_input(session, 0, F32, NULL, sizeof image));
    EXPECT(WRONG_SIZE, rimlight_session_set_input(session, 0, F32, NULL, 0));
    EXPECT(WRONG_SIZE, rimlight_session_set_input(session, 0, F32, image, sizeof image - 1));
    EXPECT(WRONG_SIZE, rimlight_session_set_input(session, 0, F32, image, SIZE_MAX));
    EXPECT(NOT_FOUND, rimlight_session_set_input(session, 9, F32, image, sizeof image));
    EXPECT(NULL_POINTER, rimlight_session_set_preprocessing(session, 0, NULL, "x"));
    EXPECT(NULL_POINTER, rimlight_session_set_preprocessing(session, 0, "resize", NULL));
    EXPECT(INVALID_ARGUMENT, rimlight_session_set_preprocessing(session, 0, "resise", "stretch"));
    EXPECT(INVALID_ARGUMENT, rimlight_session_set_preprocessing(session, 0, "resize", "squeeze"));
    EXPECT(NOT_FOUND, rimlight_session_set_preprocessing(session, 2, "resize", "digit"));
    EXPECT(INVALID_ARGUMENT, rimlight_session_set_picture(session, 0, 7, image, 1, 1, 3));
    EXPECT(NULL_POINTER, rimlight_session_set_picture(session, 0, RIMLIGHT_PIXEL_FORMAT_RGB, NULL, 1, 1, 3));
    EXPECT(WRONG_SIZE, rimlight_session_set_picture(session, 0, RIMLIGHT_PIXEL_FORMAT_RGB, image, 0, 1, 3));
    EXPECT(WRONG_SIZE, rimlight_session_set_picture(session, 0, RIMLIGHT_PIXEL_FORMAT_RGBA, image, 2, 2, 7));
    EXPECT(WRONG_SIZE, rimlight_session_set_picture(session, 0, RIMLIGHT_PIXEL_FORMAT_RGB, image, 1, 3, SIZE_MAX));
    EXPECT(NOT_FOUND, rimlight_session_set_picture(session, 1, RIMLIGHT_PIXEL_FORMAT_RGB, image, 1, 1, 3));
    EXPECT(NULL_POINTER, rimlight_session_set_picture_file(session, 0, NULL));
    EXPECT(FILE, rimlight_session_set_picture_file(session, 0, "no such picture"));
    EXPECT(PICTURE, rimlight_session_set_picture_file(session, 0, __FILE__));
    EXPECT(NOT_FOUND, rimlight_session_set_picture_file(session, 1, picture));
    /* Nothing of that set it. */
    EXPECT(WRONG_ORDER, rimlight_session_run(session));
}

static void outputs_before_a_run(RimlightSession *session) {
    const RimlightDetails *details = NULL;
    const void *data = NULL;
    size_t n = 0;
    EXPECT(NULL_POINTER, rimlight_session_output(session, 0, NULL));
    EXPECT(NOT_FOUND, rimlight_session_output(session, 1, &details));
    EXPECT(WRONG_ORDER, rimlight_session_get_output(session, 0, F32, scores, sizeof scores));
    EXPECT(WRONG_ORDER, rimlight_session_output_data(session, 0, F32, &data, &n));
    EXPECT(OK, rimlight_session_output(session, 0, &details));
    EXPECT(WRONG_ORDER, rimlight_details_bytes(details, &n));
}

static void outputs(RimlightSession *session, const char *picture) {
    const RimlightDetails *details = NULL;
    const void *data = NULL;
    const size_t one[4] = {1, 1, 28, 28};
    size_t n = 0;
    /* Data may lie at any address: here one byte off. */
    unsigned char *askew = calloc(1, sizeof image + 1);
    MUST(askew != NULL);
    EXPECT(OK, rimlight_session_set_input(session, 0, F32, askew + 1, sizeof image));
    free(askew);
    EXPECT(OK, rimlight_session_run(session));
    EXPECT(OK, rimlight_session_output(session, 0, &details));
    EXPECT(OK, rimlight_details_bytes(details, &n));
    MUST(n == sizeof scores);
    EXPECT(WRONG_TYPE, rimlight_session_get_output(session, 0, I64, scores, sizeof scores));
    EXPECT(UNSUPPORTED, rimlight_session_get_output(session, 0, TEXT, scores, sizeof scores));
    EXPECT(INVALID_ARGUMENT, rimlight_session_get_output(session, 0, -1, scores, sizeof scores));
    EXPECT(NULL_POINTER, rimlight_session_get_output(session, 0, F32, NULL, sizeof scores));
    EXPECT(WRONG_SIZE, rimlight_session_get_output(session, 0, F32, scores, sizeof scores - 4));
    EXPECT(WRONG_SIZE, rimlight_session_get_output(session, 0, F32, scores, SIZE_MAX));
    EXPECT(NOT_FOUND, rimlight_session_get_output(session, 1, F32, scores, sizeof scores));
    EXPECT(WRONG_TYPE, rimlight_session_output_data(session, 0, I64, &data, &n));
    EXPECT(NOT_FOUND, rimlight_session_output_data(session, 5, F32, &data, &n));
    EXPECT(NULL_POINTER, rimlight_session_output_data(session, 0, F32, NULL, &n));
    EXPECT(NULL_POINTER, rimlight_session_output_data(session, 0, F32, &data, NULL));
    MUST(data == NULL);
    EXPECT(OK, rimlight_session_get_output(session, 0, F32, scores, sizeof scores));
    EXPECT(OK, rimlight_session_output_data(session, 0, F32, &data, &n));
    MUST(n == sizeof scores && memcmp(data, scores, n) == 0);
    for (int i = 0; i < 3; i++) {
        float sum = 0;
        for (int c = 0; c < 10; c++) sum += scores[10 * i + c];
        MUST(fabsf(sum - 1) < 1e-3f);
    }

    /* A picture is one, not three: the shape is asked for first. */
    EXPECT(PICTURE, rimlight_session_set_picture_file(session, 0, picture));
    EXPECT(OK, rimlight_session_resize_input(session, 0, one, 4));
    EXPECT(WRONG_ORDER, rimlight_session_run(session));
    EXPECT(OK, rimlight_session_set_preprocessing(session, 0, "resize", "digit"));
    EXPECT(OK, rimlight_session_set_picture_file(session, 0, picture));
    EXPECT(OK, rimlight_session_run(session));
    EXPECT(OK, rimlight_session_get_output(session, 0, F32, scores, 10 * sizeof *scores));
    MUST(scores[8] > 0.9f);
    /* Twice the same, the second time out of memory, with rows of 40 bytes. */
    unsigned char grey[27 * 40 + 28] = {0};
    for (int y = 8; y < 20; y++) grey[40 * y + 14] = 255;
    EXPECT(OK, rimlight_session_set_picture(session, 0, RIMLIGHT_PIXEL_FORMAT_GREY, grey, 28, 28, 40));
    EXPECT(OK, rimlight_session_run(session));
    EXPECT(OK, rimlight_session_get_output(session, 0, F32, scores, 10 * sizeof *scores));
    MUST(scores[1] > 0.5f);
}

int main(int argc, char **argv) {
    if (argc != 4) return printf("misuse MODEL BACKEND PICTURE\n"), 2;
    RimlightModel *model = NULL;
    RimlightSession *session = NULL;
    RimlightBackend backend = 0;
    const RimlightDevice *lent = NULL;
    the_whole();
    models(argv[1]);
    nothing_without_a_session();
    RimlightOptions *options = options_for(argv[2]);
    RimlightDevice *device = device_of(options, argv[2]);

    EXPECT(OK, rimlight_model_open(argv[1], &model));
    EXPECT(NULL_POINTER, rimlight_session_new(NULL, device, options, &session));
    EXPECT(NULL_POINTER, rimlight_session_new(model, device, options, NULL));
    RimlightOptions *wrong = NULL;
    EXPECT(OK, rimlight_options_new(&wrong));
    EXPECT(OK, rimlight_options_set_dimension(wrong, "no such dimension", 3));
    EXPECT(INVALID_ARGUMENT, rimlight_session_new(model, device, wrong, &session));
    rimlight_options_free(wrong);
    MUST(session == NULL);

    EXPECT(OK, rimlight_session_new(model, device, options, &session));
    /* A session lives on without what it was made of. */
    rimlight_model_free(model);
    rimlight_device_free(device);
    rimlight_options_free(options);
    EXPECT(NULL_POINTER, rimlight_session_device(session, NULL));
    EXPECT(NULL_POINTER, rimlight_session_backend(session, NULL));
    inputs(session, argv[3]);
    outputs_before_a_run(session);
    outputs(session, argv[3]);
    EXPECT(OK, rimlight_session_device(session, &lent));
    EXPECT(OK, rimlight_session_backend(session, &backend));
    MUST(backend == (strcmp(argv[2], "gpu") == 0 ? RIMLIGHT_BACKEND_GPU : RIMLIGHT_BACKEND_CPU));
    rimlight_session_free(session);
    printf("%d failures\n", failures);
    return failures > 0;
}
