// Rimlight from C and C++: neural networks (ONNX) on the GPU that is there, or on the CPU.
//
// The flow is that of TensorFlow Lite's interpreter: open a model, make a session, ask for the details of inputs and outputs, set
// inputs, run, get outputs.
//
//     RimlightModel *model = NULL;
//     RimlightSession *session = NULL;
//     float input[784] = {0}, output[10];
//     if (rimlight_model_open("digits.onnx", &model) || rimlight_session_new(model, NULL, NULL, &session) ||
//         rimlight_session_set_input(session, 0, RIMLIGHT_ELEMENT_TYPE_F32, input, sizeof input) ||
//         rimlight_session_run(session) ||
//         rimlight_session_get_output(session, 0, RIMLIGHT_ELEMENT_TYPE_F32, output, sizeof output))
//         fprintf(stderr, "%s\n", rimlight_error_text());
//     rimlight_session_free(session);
//     rimlight_model_free(model);
//
// ERRORS. Every function that can fail answers with a RimlightStatus; 0 is success. What went wrong, where, and what to do says
// rimlight_error_text(), for the last call that failed on the same thread. A function that failed has written no result, and
// has left its handles as they were. Nothing here ends the program: a fault of Rimlight itself (a panic) comes back as
// RIMLIGHT_STATUS_INTERNAL.
//
// OWNERSHIP. What a function named ..._new, ..._open or ..._from_bytes gives, the caller frees, by the function ..._free of
// its kind; each takes NULL and does nothing then. A session, a device and a model may be freed in any order: each holds what it
// needs of the others. What is given through a pointer to const (texts, details, data) is lent, and must not be freed; each
// function says how long it lives. What the caller gives (paths, names, data) is copied before the function returns.
//
// POINTERS. A null pointer is answered with RIMLIGHT_STATUS_NULL_POINTER. A handle that was freed, or a pointer to less memory than
// is said, no library can recognize: what happens then is undefined. Texts are UTF-8 and end with a zero byte. Data may lie at
// any address, aligned or not; results (size_t, handles, ...) are written to aligned ones, each to memory of its own.
//
// THREADS. A model and a device may be used by several threads at once. A session, options, and the details that a session lends, by
// one thread at a time, whichever it is: who shares one puts a lock around it. Several sessions may run at the same time, also
// of one model on one device, whose weights they share.
//
// VERSIONS. Within one RIMLIGHT_ABI_VERSION functions are added, but none is changed or taken away, numbers of enumerations keep what
// they mean, and no layout of a struct is part of the interface. Ask whether header and library fit:
// rimlight_abi_version() == RIMLIGHT_ABI_VERSION.

#ifndef RIMLIGHT_H
#define RIMLIGHT_H

// Made from capi/src by cbindgen: change it there (UPDATE_HEADER=1 cargo test -p rimlight-c --test header).

#include <stddef.h>
#include <stdint.h>

// The version of the binary interface that this header describes.
#define RIMLIGHT_ABI_VERSION 1

// What a function answers with. Later versions may add others.
enum RimlightStatus
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // It is done.
  RIMLIGHT_STATUS_OK = 0,
  // A pointer is null that must not be.
  RIMLIGHT_STATUS_NULL_POINTER = 1,
  // A number that names nothing, a text that is not UTF-8, an option that cannot be or does not fit the model.
  RIMLIGHT_STATUS_INVALID_ARGUMENT = 2,
  // There is no input or output of this index or name, or no such dimension.
  RIMLIGHT_STATUS_NOT_FOUND = 3,
  // The elements are of another type.
  RIMLIGHT_STATUS_WRONG_TYPE = 4,
  // The data is not as long as the tensor, or the shape is none that the model takes.
  RIMLIGHT_STATUS_WRONG_SIZE = 5,
  // Something else has to come first: a shape, an input, a run.
  RIMLIGHT_STATUS_WRONG_ORDER = 6,
  // A file cannot be read.
  RIMLIGHT_STATUS_FILE = 7,
  // This is no model, or one that cannot be right.
  RIMLIGHT_STATUS_MODEL = 8,
  // This is no picture, or none that can be made into the input.
  RIMLIGHT_STATUS_PICTURE = 9,
  // The model may be right, or the wish, but this library cannot do it.
  RIMLIGHT_STATUS_UNSUPPORTED = 10,
  // There is no GPU, or it failed.
  RIMLIGHT_STATUS_DEVICE = 11,
  // The GPU was lost: free what runs on it, and make it anew.
  RIMLIGHT_STATUS_DEVICE_LOST = 12,
  // Memory does not suffice, or something is larger than the device takes.
  RIMLIGHT_STATUS_OUT_OF_MEMORY = 13,
  // A fault of Rimlight. The handle that it befell can only be freed.
  RIMLIGHT_STATUS_INTERNAL = 14,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum RimlightStatus RimlightStatus;
#else
typedef int32_t RimlightStatus;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// The type of a tensor's elements, by ONNX's numbers (TensorProto.DataType). Later versions may add others.
enum RimlightElementType
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Not known, or the value is no tensor.
  RIMLIGHT_ELEMENT_TYPE_UNKNOWN = 0,
  // float.
  RIMLIGHT_ELEMENT_TYPE_F32 = 1,
  // uint8_t.
  RIMLIGHT_ELEMENT_TYPE_U8 = 2,
  // int8_t.
  RIMLIGHT_ELEMENT_TYPE_I8 = 3,
  // uint16_t.
  RIMLIGHT_ELEMENT_TYPE_U16 = 4,
  // int16_t.
  RIMLIGHT_ELEMENT_TYPE_I16 = 5,
  // int32_t.
  RIMLIGHT_ELEMENT_TYPE_I32 = 6,
  // int64_t.
  RIMLIGHT_ELEMENT_TYPE_I64 = 7,
  // Texts, which this interface tells of but does not take or give.
  RIMLIGHT_ELEMENT_TYPE_STRING = 8,
  // One byte, 0 for false and 1 for true.
  RIMLIGHT_ELEMENT_TYPE_BOOL = 9,
  // 16-bit floating point (IEEE 754).
  RIMLIGHT_ELEMENT_TYPE_F16 = 10,
  // double.
  RIMLIGHT_ELEMENT_TYPE_F64 = 11,
  // uint32_t.
  RIMLIGHT_ELEMENT_TYPE_U32 = 12,
  // uint64_t.
  RIMLIGHT_ELEMENT_TYPE_U64 = 13,
  // The upper half of a float.
  RIMLIGHT_ELEMENT_TYPE_BF16 = 16,
  // 8-bit floating point: 4 bits of exponent, 3 of mantissa, no infinity.
  RIMLIGHT_ELEMENT_TYPE_F8E4M3FN = 17,
  // 8-bit floating point: 4 bits of exponent, 3 of mantissa, no infinity, one zero.
  RIMLIGHT_ELEMENT_TYPE_F8E4M3FNUZ = 18,
  // 8-bit floating point: 5 bits of exponent, 2 of mantissa.
  RIMLIGHT_ELEMENT_TYPE_F8E5M2 = 19,
  // 8-bit floating point: 5 bits of exponent, 2 of mantissa, no infinity, one zero.
  RIMLIGHT_ELEMENT_TYPE_F8E5M2FNUZ = 20,
  // 4-bit unsigned integer, in a byte of its own.
  RIMLIGHT_ELEMENT_TYPE_U4 = 21,
  // 4-bit signed integer, in a byte of its own.
  RIMLIGHT_ELEMENT_TYPE_I4 = 22,
  // 4-bit floating point, in a byte of its own.
  RIMLIGHT_ELEMENT_TYPE_F4E2M1 = 23,
  // 8 bits of exponent alone: powers of two.
  RIMLIGHT_ELEMENT_TYPE_F8E8M0 = 24,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum RimlightElementType RimlightElementType;
#else
typedef int32_t RimlightElementType;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Where a model runs.
enum RimlightBackend
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // A GPU; the CPU where there is none. Never a GPU in software, which the CPU beats.
  RIMLIGHT_BACKEND_AUTO = 0,
  // A GPU, one in software included; an error where there is none.
  RIMLIGHT_BACKEND_GPU = 1,
  // The CPU.
  RIMLIGHT_BACKEND_CPU = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum RimlightBackend RimlightBackend;
#else
typedef int32_t RimlightBackend;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How a GPU stores values. The CPU computes in 32 bits.
enum RimlightPrecision
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // In 32 bits.
  RIMLIGHT_PRECISION_F32 = 0,
  // Floats in 16 bits: half the memory, and more speed on most GPUs.
  RIMLIGHT_PRECISION_F16 = 1,
  // The first run is made in both, and 16 bits are taken where the outputs agree.
  RIMLIGHT_PRECISION_AUTO = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum RimlightPrecision RimlightPrecision;
#else
typedef int32_t RimlightPrecision;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How the pixels of a picture in memory lie, 8 bits a channel. What is behind an A or an X is not looked at.
enum RimlightPixelFormat
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Red, green, blue.
  RIMLIGHT_PIXEL_FORMAT_RGB = 0,
  // Blue, green, red.
  RIMLIGHT_PIXEL_FORMAT_BGR = 1,
  // Red, green, blue, and a byte of something else.
  RIMLIGHT_PIXEL_FORMAT_RGBA = 2,
  // Blue, green, red, and a byte of something else.
  RIMLIGHT_PIXEL_FORMAT_BGRA = 3,
  // One byte: grey.
  RIMLIGHT_PIXEL_FORMAT_GREY = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum RimlightPixelFormat RimlightPixelFormat;
#else
typedef int32_t RimlightPixelFormat;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What is known of an input or an output: its name, its type, its shape. Lent by a model or a session.
typedef struct RimlightDetails RimlightDetails;

// A GPU, or the threads of the CPU. Sessions on one device share it, and the weights of their models.
typedef struct RimlightDevice RimlightDevice;

// A model as its file has it, read and checked. It holds the weights; once a session is made it can be freed, and a GPU has
// them alone.
typedef struct RimlightModel RimlightModel;

// What is asked of a device and of a session. Made once, used for as many as you like, changed whenever you like: what was made
// with it stays as it is.
typedef struct RimlightOptions RimlightOptions;

// The memory of one run at a time: a model on a device, its inputs and outputs.
typedef struct RimlightSession RimlightSession;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The version of the binary interface that the library has: RIMLIGHT_ABI_VERSION of the header that it was built with.
uint32_t rimlight_abi_version(void);

// The library's version, such as "0.1.0". It lives as long as the program.
const char *rimlight_version(void);

// A few words for a RimlightStatus, such as "wrong size"; "unknown" for a number that is none. They live as long as the program.
const char *rimlight_status_name(int32_t status);

// What went wrong in the last call that failed on this thread, where, and what to do; empty if none has failed. It lives until the next
// call fails on this thread.
const char *rimlight_error_text(void);

// What a RimlightElementType is called, such as "f32"; "unknown" for a number that is none. The text lives as long as the program.
const char *rimlight_element_type_name(int32_t element_type);

// Bytes of one element of a RimlightElementType; 0 for texts, and for a number that is none.
size_t rimlight_element_type_size(int32_t element_type);

// The name, as the model's file has it. It lives as long as the details.
RimlightStatus rimlight_details_name(const struct RimlightDetails *details, const char **name);

// Name, type and shape in a line for people: `data f32[batch, 3, 227, 227]`. It lives as long as the details.
RimlightStatus rimlight_details_text(const struct RimlightDetails *details, const char **text);

// The type of the elements.
RimlightStatus rimlight_details_type(const struct RimlightDetails *details, RimlightElementType *element_type);

// The number of dimensions; 0 of a scalar. RIMLIGHT_STATUS_WRONG_ORDER where only a run will show it.
RimlightStatus rimlight_details_rank(const struct RimlightDetails *details, size_t *rank);

// The size along an axis, the outermost being 0; -1 where the model leaves it open.
RimlightStatus rimlight_details_size(const struct RimlightDetails *details, size_t axis, int64_t *size);

// What the model calls an open dimension: a symbol that rimlight_options_set_dimension binds ("batch"), or arithmetic over symbols
// ("(width + 2)"); an empty text where it is a number, or has no name. It lives as long as the details.
RimlightStatus rimlight_details_symbol(const struct RimlightDetails *details,
                                       size_t axis,
                                       const char **symbol);

// How many bytes all elements take: the size of the array that an input is set from, or an output is copied to.
// RIMLIGHT_STATUS_WRONG_ORDER while a dimension is open.
RimlightStatus rimlight_details_bytes(const struct RimlightDetails *details, size_t *bytes);

// Reads a model from an ONNX file. Free it with rimlight_model_free.
RimlightStatus rimlight_model_open(const char *path, struct RimlightModel **model);

// Reads a model from the bytes of an ONNX file, which are copied. Free it with rimlight_model_free.
RimlightStatus rimlight_model_from_bytes(const void *data, size_t length, struct RimlightModel **model);

// Frees a model. Its sessions live on. NULL is allowed.
void rimlight_model_free(struct RimlightModel *model);

// How many inputs the model has.
RimlightStatus rimlight_model_input_count(const struct RimlightModel *model, size_t *count);

// How many outputs the model has.
RimlightStatus rimlight_model_output_count(const struct RimlightModel *model, size_t *count);

// What the file says of an input. The details live as long as the model.
RimlightStatus rimlight_model_input(const struct RimlightModel *model, size_t index, const struct RimlightDetails **details);

// What the file says of an output; its shape may show in a run alone. The details live as long as the model.
RimlightStatus rimlight_model_output(const struct RimlightModel *model, size_t index, const struct RimlightDetails **details);

// The index of the input of this name.
RimlightStatus rimlight_model_input_index(const struct RimlightModel *model, const char *name, size_t *index);

// The index of the output of this name.
RimlightStatus rimlight_model_output_index(const struct RimlightModel *model, const char *name, size_t *index);

// Makes options that ask for nothing: any GPU or else the CPU, 32 bits, no dimension bound. Free them with rimlight_options_free.
RimlightStatus rimlight_options_new(struct RimlightOptions **options);

// Frees options. What was made with them is not touched. NULL is allowed.
void rimlight_options_free(struct RimlightOptions *options);

// Asks for a RimlightBackend.
RimlightStatus rimlight_options_set_backend(struct RimlightOptions *options, int32_t backend);

// Asks for the GPU whose name has this part ("NVIDIA", "llvmpipe"); it is an error then if there is none. NULL asks for any.
RimlightStatus rimlight_options_set_adapter(struct RimlightOptions *options, const char *name);

// How many threads the CPU computes with; 0 for as many as there are cores.
RimlightStatus rimlight_options_set_threads(struct RimlightOptions *options, size_t threads);

// Asks for a RimlightPrecision.
RimlightStatus rimlight_options_set_precision(struct RimlightOptions *options, int32_t precision);

// A folder in which compiled kernels and packed weights are kept between starts, so that the next start is faster. NULL, as at the
// beginning, keeps nothing. It is made when something is kept.
RimlightStatus rimlight_options_set_cache_folder(struct RimlightOptions *options,
                                                 const char *folder);

// Binds an open dimension of the model ("batch") to a number, as rimlight_session_resize_input does for one input alone. What is
// bound when a session is made is planned and uploaded then, not by the first run.
RimlightStatus rimlight_options_set_dimension(struct RimlightOptions *options, const char *symbol, size_t size);

// Opens the device that the options ask for (backend, adapter, threads, cache folder); NULL asks for nothing. Only who wants to know it
// beforehand, or several sessions on one, needs this: a session opens its own otherwise. Free it with rimlight_device_free.
RimlightStatus rimlight_device_new(const struct RimlightOptions *options,
                                   struct RimlightDevice **device);

// Frees a device. Sessions keep it as long as they live. NULL is allowed.
void rimlight_device_free(struct RimlightDevice *device);

// Whether it is a GPU or the CPU: RIMLIGHT_BACKEND_GPU or RIMLIGHT_BACKEND_CPU.
RimlightStatus rimlight_device_backend(const struct RimlightDevice *device, RimlightBackend *backend);

// The adapter's name and interface, or the number of threads: "CPU, 2 threads". It lives as long as the device.
RimlightStatus rimlight_device_name(const struct RimlightDevice *device, const char **name);

// Every adapter that was looked at, and why it was or was not taken, a line each. It lives as long as the device.
RimlightStatus rimlight_device_choice(const struct RimlightDevice *device, const char **choice);

// Makes a session of a model. `device` may be NULL: then it opens the one that the options ask for. So may `options`: they ask for
// nothing then. Of options beside a device only precision and dimensions count. If all shapes are known, the model is planned
// and uploaded here, otherwise by the first run. Free it with rimlight_session_free.
RimlightStatus rimlight_session_new(const struct RimlightModel *model,
                                    const struct RimlightDevice *device,
                                    const struct RimlightOptions *options,
                                    struct RimlightSession **session);

// Frees a session, and what it lent. NULL is allowed.
void rimlight_session_free(struct RimlightSession *session);

// The device that the session was made on. It lives as long as the session.
RimlightStatus rimlight_session_device(const struct RimlightSession *session, const struct RimlightDevice **device);

// What runs it: RIMLIGHT_BACKEND_GPU or RIMLIGHT_BACKEND_CPU. It is the CPU on a device that is a GPU where RIMLIGHT_BACKEND_AUTO was asked
// for and a tensor is too large for that GPU; where shapes are open, only a run decides.
RimlightStatus rimlight_session_backend(const struct RimlightSession *session,
                                        RimlightBackend *backend);

// Runs the model on what was set, and waits for the outputs. Inputs keep what they hold: who runs again sets those that changed.
RimlightStatus rimlight_session_run(struct RimlightSession *session);

// What is known of an input: what the model says, dimensions that the options bind or rimlight_session_resize_input gave being numbers. The
// details live until this input is resized, and no longer than the session.
RimlightStatus rimlight_session_input(const struct RimlightSession *session,
                                      size_t index,
                                      const struct RimlightDetails **details);

// Gives an input with open dimensions a shape: `rank` sizes, the outermost first. What it held is forgotten if the shape is another.
// Each set of shapes that runs meet is planned once; the last few plans are kept.
RimlightStatus rimlight_session_resize_input(struct RimlightSession *session,
                                             size_t index,
                                             const size_t *shape,
                                             size_t rank);

// Gives an input its content: all elements, row-major, in the byte order of the machine. `element_type` is a RimlightElementType, and must be the
// input's; `bytes` must be as many as rimlight_details_bytes says. The content is copied, and kept for all runs to come. It may lie
// in an output of the same session (rimlight_session_output_data).
RimlightStatus rimlight_session_set_input(struct RimlightSession *session,
                                          size_t index,
                                          int32_t element_type,
                                          const void *data,
                                          size_t bytes);

// Says how pictures are made into an input; without it they are made as is likely by the input's shape and type: photographs as ImageNet's
// are, digits as MNIST's. `property` and `value` are texts: "resize" "stretch", "short_side", "letterbox", "letterbox_centred", "multiple",
// "none" or "digit"; "channels" "rgb", "bgr" or "grey"; "scale" "1/255"; "mean" "0.485,0.456,0.406"; "std" likewise; "layout" "nchw" or "nhwc";
// "size" "640x480" where the model leaves that open; "turn" "90"; "mirror" "true"; "region" "left,top,width,height"; "short_side" "256";
// "fill" "114". Each pixel becomes (value * scale - mean) / std, its values being 0 to 255 before.
RimlightStatus rimlight_session_set_preprocessing(struct RimlightSession *session,
                                                  size_t index,
                                                  const char *property,
                                                  const char *value);

// Makes a picture in memory into an input: `height` rows of `width` pixels, from the top left, `stride` bytes from one row to the next.
// `format` is a RimlightPixelFormat. Open dimensions become 1 (the batch) and what the preprocessing says.
RimlightStatus rimlight_session_set_picture(struct RimlightSession *session,
                                            size_t index,
                                            int32_t format,
                                            const void *pixels,
                                            uint32_t width,
                                            uint32_t height,
                                            size_t stride);

// Makes a JPEG or PNG file into an input, as rimlight_session_set_picture does. It is turned upright as its camera says.
RimlightStatus rimlight_session_set_picture_file(struct RimlightSession *session, size_t index, const char *path);

// What is known of an output: after a run its type and shape in numbers, before it what the model says. The details live until the next run,
// and no longer than the session.
RimlightStatus rimlight_session_output(const struct RimlightSession *session,
                                       size_t index,
                                       const struct RimlightDetails **details);

// Copies an output of the last run to `buffer`: all elements, row-major. `element_type` is a RimlightElementType, and must be the output's; `bytes`,
// the buffer's size, must be what rimlight_details_bytes says of rimlight_session_output.
RimlightStatus rimlight_session_get_output(const struct RimlightSession *session,
                                           size_t index,
                                           int32_t element_type,
                                           void *buffer,
                                           size_t bytes);

// Lends an output of the last run without a copy, aligned for its elements. `element_type` is a RimlightElementType, and must be the output's. The
// data lives until the next run, and no longer than the session; setting inputs leaves it as it is.
RimlightStatus rimlight_session_output_data(const struct RimlightSession *session,
                                            size_t index,
                                            int32_t element_type,
                                            const void **data,
                                            size_t *bytes);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* RIMLIGHT_H */
