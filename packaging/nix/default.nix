# SPDX-License-Identifier: GPL-2.0-only
# Tried: nix-instantiate parses it (tests/recipes). Nobody has built it, since nixpkgs was not at hand.
#
# nix-build -E 'with import <nixpkgs> {}; callPackage ./packaging/nix {}'
{
  lib,
  rustPlatform,
  llvmPackages,
  elfutils,
  libseccomp,
  pkg-config,
  python3,
  zlib,
}:

rustPlatform.buildRustPackage {
  pname = "scx_vmland";
  version = "0.2.0";
  src = lib.cleanSource ../..;
  cargoLock.lockFile = ../../Cargo.lock;

  nativeBuildInputs = [
    llvmPackages.clang
    pkg-config
    python3
    rustPlatform.bindgenHook
  ];
  buildInputs = [
    elfutils
    libseccomp
    zlib
  ];

  # The wrapper of nixpkgs adds flags of the host, which clang does not take for BPF.
  env.BPF_CLANG = lib.getExe llvmPackages.clang-unwrapped;
  hardeningDisable = [ "zerocallusedregs" ];

  buildPhase = ''
    runHook preBuild
    make build SETUP=:
    runHook postBuild
  '';
  # They want an emulated host.
  doCheck = false;
  installPhase = ''
    runHook preInstall
    make install PREFIX=$out DESTDIR= default=$out/etc/default/scx_vmland
    runHook postInstall
  '';

  meta = {
    description = "CPU scheduler for overcommitted KVM hosts (sched_ext)";
    license = lib.licenses.gpl2Only;
    platforms = [ "x86_64-linux" ];
    mainProgram = "vmland";
  };
}
