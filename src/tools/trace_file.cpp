// SPDX-License-Identifier: Apache-2.0
#include "tools/trace_file.hpp"

#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include <fmt/format.h>

#include "tools/output.hpp"
#include "tools/terminal_text.hpp"

namespace memtally::tools {
namespace {

namespace fs = std::filesystem;

constexpr const char* kEndings[] = {"", ".trace.zst", ".trace"};

struct CloseFile {
  void operator()(std::FILE* file) const {
    if (file != stdin && file != stdout) std::fclose(file);
  }
};
using FilePointer = std::unique_ptr<std::FILE, CloseFile>;

struct FreeDecompressor {
  void operator()(ZSTD_DStream* stream) const { ZSTD_freeDStream(stream); }
};
struct FreeCompressor {
  void operator()(ZSTD_CStream* stream) const { ZSTD_freeCStream(stream); }
};

std::string Shown(const std::string& path) { return path == "-" ? "standard input" : TerminalText(path); }

bool IsZstd(std::string_view text) { return text.substr(0, 4) == "\x28\xb5\x2f\xfd"; }

std::string FolderOfCommand() {
  std::error_code error;
  const fs::path executable = fs::read_symlink("/proc/self/exe", error);
  return error ? std::string() : executable.parent_path().string();
}

}  // namespace

bool ReadTextFile(const std::string& path, const std::function<bool(std::string_view)>& sink, std::string* error) {
  std::error_code ignored;
  if (path != "-" && fs::is_directory(path, ignored)) {
    *error = fmt::format("{}: is a folder, not a trace", Shown(path));
    return false;
  }
  const FilePointer file(path == "-" ? stdin : std::fopen(path.c_str(), "rbe"));
  if (!file) {
    *error = fmt::format("{}: {}", Shown(path), ErrorText(errno));
    return false;
  }
  std::vector<char> input(ZSTD_DStreamInSize());
  std::vector<char> output(ZSTD_DStreamOutSize());
  std::unique_ptr<ZSTD_DStream, FreeDecompressor> stream;
  size_t expected = 0;  // of zstd: 0 at the end of a frame
  bool first = true;
  for (;;) {
    const size_t bytes = std::fread(input.data(), 1, input.size(), file.get());
    if (bytes == 0) break;
    const std::string_view piece(input.data(), bytes);
    if (first && IsZstd(piece)) stream.reset(ZSTD_createDStream());
    first = false;
    if (!stream) {
      if (!sink(piece)) return true;
      continue;
    }
    ZSTD_inBuffer in{input.data(), bytes, 0};
    ZSTD_outBuffer out{nullptr, 0, 0};
    do {
      out = {output.data(), output.size(), 0};
      expected = ZSTD_decompressStream(stream.get(), &out, &in);
      if (ZSTD_isError(expected)) {
        *error = fmt::format("{}: cannot be decompressed: {}", Shown(path), ZSTD_getErrorName(expected));
        return false;
      }
      if (!sink({output.data(), out.pos})) return true;
    } while (in.pos < in.size || out.pos == out.size);
  }
  if (std::ferror(file.get())) {
    *error = fmt::format("{}: {}", Shown(path), ErrorText(errno));
    return false;
  }
  if (stream && expected != 0) {
    *error = fmt::format("{}: ends in the middle of its compressed data; it was cut short", Shown(path));
    return false;
  }
  return true;
}

struct TextFileWriter::State {
  std::string path;
  FilePointer file;
  std::unique_ptr<ZSTD_CStream, FreeCompressor> stream;  // null: plain text
  std::vector<char> output;
  std::string failure;

  void Write(const char* bytes, size_t size) {
    if (failure.empty() && std::fwrite(bytes, 1, size, file.get()) != size) failure = ErrorText(errno);
  }
  void Compress(std::string_view text, ZSTD_EndDirective directive) {
    ZSTD_inBuffer in{text.data(), text.size(), 0};
    size_t left = 0;
    do {
      ZSTD_outBuffer out{output.data(), output.size(), 0};
      left = ZSTD_compressStream2(stream.get(), &out, &in, directive);
      if (ZSTD_isError(left)) {
        failure = ZSTD_getErrorName(left);
        return;
      }
      Write(output.data(), out.pos);
    } while (in.pos < in.size || (directive == ZSTD_e_end && left != 0));
  }
};

TextFileWriter::TextFileWriter() : state_(std::make_unique<State>()) {}
TextFileWriter::~TextFileWriter() = default;

std::unique_ptr<TextFileWriter> TextFileWriter::Open(const std::string& path, std::string* error) {
  std::unique_ptr<TextFileWriter> writer(new TextFileWriter);
  State& state = *writer->state_;
  state.path = path;
  state.file.reset(path == "-" ? stdout : std::fopen(path.c_str(), "wbe"));
  if (!state.file) {
    *error = fmt::format("{}: {}", TerminalText(path), ErrorText(errno));
    return nullptr;
  }
  if (path.ends_with(".zst")) {
    state.stream.reset(ZSTD_createCStream());
    state.output.resize(ZSTD_CStreamOutSize());
    ZSTD_CCtx_setParameter(state.stream.get(), ZSTD_c_compressionLevel, 9);
    ZSTD_CCtx_setParameter(state.stream.get(), ZSTD_c_checksumFlag, 1);
  }
  return writer;
}

void TextFileWriter::Append(std::string_view text) {
  if (state_->stream) {
    state_->Compress(text, ZSTD_e_continue);
  } else {
    state_->Write(text.data(), text.size());
  }
}

bool TextFileWriter::Close(std::string* error) {
  if (state_->stream) state_->Compress({}, ZSTD_e_end);
  std::FILE* file = state_->file.release();
  const bool closed = file == stdout ? std::fflush(file) == 0 : std::fclose(file) == 0;
  if (!closed && state_->failure.empty()) state_->failure = ErrorText(errno);
  if (state_->failure.empty()) return true;
  *error = fmt::format("{}: cannot be written: {}", TerminalText(state_->path), state_->failure);
  return false;
}

std::vector<std::string> TraceFolders() {
  std::vector<std::string> folders;
  if (const char* list = std::getenv("MEMTALLY_TRACES")) {
    std::string_view rest = list;
    while (!rest.empty()) {
      const size_t end = std::min(rest.find(':'), rest.size());
      if (end != 0) folders.emplace_back(rest.substr(0, end));
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
  const std::string folder = FolderOfCommand();
  if (!folder.empty()) folders.push_back((fs::path(folder) / ".." / MEMTALLY_INSTALLED_TRACES).lexically_normal());
  folders.emplace_back(MEMTALLY_SOURCE_TRACES);
  return folders;
}

std::string FindTrace(const std::string& name) {
  std::error_code ignored;
  if (name == "-" || fs::exists(name, ignored)) return name;
  if (name.empty() || name.find('/') != std::string::npos) return "";
  for (const std::string& folder : TraceFolders()) {
    for (const char* ending : kEndings) {
      const fs::path path = fs::path(folder) / (name + ending);
      if (fs::is_regular_file(path, ignored)) return path.string();
    }
  }
  return "";
}

std::vector<std::string> TraceNames() {
  std::vector<std::string> names;
  for (const std::string& folder : TraceFolders()) {
    std::error_code ignored;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder, ignored)) {
      const std::string name = entry.path().filename().string();
      if (name.ends_with(".trace") || name.ends_with(".trace.zst")) names.push_back(TraceStem(name));
    }
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

std::string TraceStem(const std::string& path) {
  std::string name = path == "-" ? "standard input" : fs::path(path).filename().string();
  for (const std::string_view ending : {".zst", ".trace"}) {
    if (name.ends_with(ending) && name.size() > ending.size()) name.resize(name.size() - ending.size());
  }
  return name;
}

}  // namespace memtally::tools
