# The dialect of this build: one function for a library, one for a program, one for a test.

set(CMAKE_CXX_FLAGS_RELEASE "-O2 -g1")
set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1 -D_GLIBCXX_ASSERTIONS")
set(CMAKE_C_FLAGS_RELEASE "-O2 -g1")

add_library(thinsnap_options INTERFACE)
target_compile_options(thinsnap_options INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual
  # GCC 12 warns falsely about moved-from std::variant members and std::string::insert.
  -Wno-maybe-uninitialized -Wno-restrict)
target_include_directories(thinsnap_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_definitions(thinsnap_options INTERFACE THINSNAP_VERSION="${PROJECT_VERSION}")
if(THINSNAP_SANITIZE)
  add_compile_options(-fsanitize=${THINSNAP_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${THINSNAP_SANITIZE})
endif()

# thinsnap_library(repo SOURCES a.cc b.cc DEPENDS thinsnap::store PRIVATE_DEPENDS PkgConfig::ZSTD)
function(thinsnap_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;DEPENDS;PRIVATE_DEPENDS")
  add_library(thinsnap_${name} STATIC ${arg_SOURCES})
  add_library(thinsnap::${name} ALIAS thinsnap_${name})
  target_link_libraries(thinsnap_${name}
    PUBLIC thinsnap_options ${arg_DEPENDS}
    PRIVATE ${arg_PRIVATE_DEPENDS})
endfunction()

# thinsnap_program(thinsnap-sim SOURCES main.cc DEPENDS thinsnap::up): ends up in bin/.
function(thinsnap_program name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;DEPENDS")
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE thinsnap_options ${arg_DEPENDS})
endfunction()

# thinsnap_test(unit core SOURCES core/result_test.cc DEPENDS thinsnap::core [ROOT] [LOCK name] [TIMEOUT 60]):
# one program for each tier and folder; ctest sees its test suites with the tier as label. ROOT: needs root, loop
# devices or runc and skips by name without. LOCK: a ctest RESOURCE_LOCK. DEEP: a filter of what is left to the deep
# tier.
function(thinsnap_test tier name)
  cmake_parse_arguments(PARSE_ARGV 2 arg "ROOT" "LOCK;TIMEOUT;DEEP" "SOURCES;DEPENDS;DATA")
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  set(target ${tier}_${name}_test)
  add_executable(${target} ${arg_SOURCES})
  target_link_libraries(${target} PRIVATE thinsnap_options ${arg_DEPENDS} GTest::gtest GTest::gmock GTest::gtest_main)
  target_compile_definitions(${target} PRIVATE
    THINSNAP_SOURCE_DIR="${PROJECT_SOURCE_DIR}" THINSNAP_BINARY_DIR="${PROJECT_BINARY_DIR}")
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  add_test(NAME ${tier}.${name} COMMAND ${target} --gtest_brief=1)
  set_tests_properties(${tier}.${name} PROPERTIES LABELS "${tier}" TIMEOUT ${arg_TIMEOUT})
  if(arg_DEEP)
    set_tests_properties(${tier}.${name} PROPERTIES ENVIRONMENT "GTEST_FILTER=-${arg_DEEP}")
    add_test(NAME ${tier}.${name}_deep COMMAND ${target} --gtest_brief=1 "--gtest_filter=${arg_DEEP}")
    set_tests_properties(${tier}.${name}_deep PROPERTIES LABELS deep TIMEOUT 36000)
  endif()
  if(arg_LOCK)
    set_tests_properties(${tier}.${name} PROPERTIES RESOURCE_LOCK ${arg_LOCK})
  endif()
endfunction()
