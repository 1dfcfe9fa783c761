# Copyright the Couplet developers.
#
# SPDX-License-Identifier: Apache-2.0

import pathlib

from spack.package import *
from spack_repo.builtin.build_systems.cmake import CMakePackage, generator


class Couplet(CMakePackage):
    """Couplet trains few-step image generators by distilling noise-data couplings, data-parallel
    over MPI and NCCL."""

    # The clone that this recipe lies in: Spack builds from its commits and tags.
    git = pathlib.Path(__file__).resolve().parents[6].as_uri()
    homepage = "https://arxiv.org/abs/2603.09014"

    license("Apache-2.0", checked_by="couplet")

    version("main", branch="main")

    variant("cuda", default=False, description="Build the library for NVIDIA's GPUs and NCCL")

    depends_on("c", type="build")
    depends_on("cxx", type="build")
    depends_on("cmake@3.25:", type="build")
    depends_on("ninja", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("kainjow-mustache@4.1:", type="build")

    # Any of them: ^openmpi, ^mpich, ^cray-mpich. Its launcher starts the ranks of `couplet run`.
    depends_on("mpi")
    # Each shard of a table has one writer, so nothing needs HDF5 over MPI.
    depends_on("hdf5@1.10:+cxx~mpi")
    depends_on("py-torch@2.11:~cuda", when="~cuda")
    depends_on("py-torch@2.11:+cuda+nccl", when="+cuda")
    depends_on("cuda", when="+cuda")
    depends_on("nccl", when="+cuda")
    depends_on("boost+program_options")
    depends_on("fmt@9:")
    depends_on("nlohmann-json@3.11:")
    depends_on("libpng")
    depends_on("jpeg")
    depends_on("libwebp")
    depends_on("libdeflate")
    depends_on("zlib-api")
    depends_on("libzip")
    depends_on("xxhash")

    conflicts("%gcc@:11", msg="Couplet is written in C++20, and tried with GCC 12")

    generator("ninja")

    def cmake_args(self):
        spec = self.spec
        # site-packages/torch/share/cmake
        site_packages = pathlib.Path(spec["py-torch"].package.cmake_prefix_paths[0]).parents[2]
        args = [
            self.define("COUPLET_TESTS", False),
            self.define("COUPLET_BENCH", False),
            self.define("COUPLET_TOGETHER", True),
            self.define("COUPLET_TORCH", str(site_packages)),
            # LibTorch stays in its own prefix.
            self.define("COUPLET_BUNDLE_TORCH", False),
            self.define("MUSTACHE_INCLUDE_DIR", spec["kainjow-mustache"].prefix.include),
            self.define_from_variant("COUPLET_CUDA", "cuda"),
        ]
        if spec.satisfies("+cuda"):
            args.append(self.define("COUPLET_CUDA_INCLUDE", spec["cuda"].prefix.include))
            args.append(self.define("COUPLET_NCCL_INCLUDE", spec["nccl"].prefix.include))
        return args

    def test_version(self):
        """the program names itself and its libraries"""
        couplet = which(self.prefix.bin.couplet, required=True)
        text = couplet("version", output=str.split)
        expected = "couplet " if self.spec.satisfies("@main") else f"couplet {self.version}"
        assert text.startswith(expected), text

    def test_selftest(self):
        """one process tries MPI, HDF5, LibTorch and ten training steps"""
        couplet = which(self.prefix.bin.couplet, required=True)
        couplet("selftest")
