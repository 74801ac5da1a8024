# Two kinds of library, by the side of the filter they run on (DESIGN 4, 11).
#
#   teacup_kernel_library(NAME SOURCES ... DEPS ...)  freestanding, linked into the runtime as `NAME`; the same
#                                                     sources built with a libc as `NAME_hosted`, for unit tests and
#                                                     for commands that read images (host/hosted).
#   teacup_host_library(NAME SOURCES ... DEPS ...)    ordinary C++, for the broker, the importer and the command line.
#   teacup_unit_test(NAME SOURCES ... DEPS ...)       a GoogleTest program, registered with ctest.

set(TEACUP_WARNINGS -Wall -Wextra -Wpedantic -Werror)

# Guest code owns %fs, the vector registers and the red zone, so the kernel uses none of them. The runtime is
# linked at a fixed high address; -fpie is not for relocation but for RIP-relative addressing, the only code model
# that reaches such an address without 64-bit immediates everywhere. Hidden visibility keeps a GOT, which would be
# writable, out of it.
set(TEACUP_FREESTANDING -ffreestanding -fno-exceptions -fno-rtti -fno-stack-protector -fno-threadsafe-statics
    -fno-asynchronous-unwind-tables -fno-strict-aliasing -fpie -fvisibility=hidden -mno-red-zone -fcf-protection=none
    -fno-omit-frame-pointer -include ${PROJECT_SOURCE_DIR}/kernel/base/visibility.h)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  list(APPEND TEACUP_FREESTANDING -mgeneral-regs-only)
else()
  # clang's -mgeneral-regs-only rejects libstdc++'s long double overloads; this says the same.
  list(APPEND TEACUP_FREESTANDING -mno-sse -mno-mmx -mno-avx -msoft-float)
endif()

# libext2fs, for the importer and the ext4 writer: the archives, see cli/CMakeLists.txt.
find_path(EXT2FS_INCLUDE ext2fs/ext2fs.h REQUIRED)
find_library(EXT2FS_ARCHIVE libext2fs.a REQUIRED)
find_library(COM_ERR_ARCHIVE libcom_err.a REQUIRED)
set(TEACUP_EXT2FS ${EXT2FS_ARCHIVE} ${COM_ERR_ARCHIVE})

function(teacup_kernel_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPS" ${ARGN})
  add_library(${name} STATIC ${arg_SOURCES})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_compile_options(${name} PRIVATE ${TEACUP_WARNINGS} $<$<COMPILE_LANGUAGE:CXX>:${TEACUP_FREESTANDING}>)
  target_compile_definitions(${name} PRIVATE TEACUP_FREESTANDING=1)
  if(TEACUP_LOCK_CHECKS)
    target_compile_definitions(${name} PRIVATE TEACUP_LOCK_CHECKS=1)
  endif()
  target_link_libraries(${name} PUBLIC ${arg_DEPS})
  set_property(GLOBAL APPEND PROPERTY TEACUP_KERNEL_LIBRARIES ${name})

  # Assembly speaks to the real %gs and stacks: hosted builds go without it.
  set(hosted ${arg_SOURCES})
  list(FILTER hosted EXCLUDE REGEX "\\.S$")
  add_library(${name}_hosted STATIC EXCLUDE_FROM_ALL ${hosted})
  target_include_directories(${name}_hosted PUBLIC ${PROJECT_SOURCE_DIR})
  target_compile_options(${name}_hosted PRIVATE ${TEACUP_WARNINGS})
  target_compile_definitions(${name}_hosted PUBLIC TEACUP_HOSTED=1 TEACUP_LOCK_CHECKS=1)
  list(TRANSFORM arg_DEPS APPEND _hosted)
  target_link_libraries(${name}_hosted PUBLIC ${arg_DEPS})
endfunction()

function(teacup_host_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPS" ${ARGN})
  add_library(${name} STATIC ${arg_SOURCES})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_compile_options(${name} PRIVATE ${TEACUP_WARNINGS})
  target_link_libraries(${name} PUBLIC ${arg_DEPS})
endfunction()

function(teacup_unit_test name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPS" ${ARGN})
  find_package(GTest REQUIRED)
  add_executable(${name} ${arg_SOURCES})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  # -O2 would take a third longer to compile; what is to be fast is in the libraries.
  target_compile_options(${name} PRIVATE ${TEACUP_WARNINGS} -O1)
  target_link_libraries(${name} PRIVATE ${arg_DEPS} GTest::gmock GTest::gtest GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT 600)
endfunction()
