#!/bin/sh
# Makes the clips of the caller who reacts, with Debian's free synthesizers: apt-get install espeak-ng flite sox
# Each voice is a folder, whose clips.toml says what each clip is. 8 kHz, 16 bit, mono, trimmed.
set -eu
cd "$(dirname "$0")"
tmp=$(mktemp -d)
trap 'rm -r "$tmp"' EXIT

synthesize() { # VOICE TEXT FILE
    case $1 in
        espeak) espeak-ng -v en-us+f3 -s 160 -w "$3" "$2" ;;
        *) flite -voice "$1" -t "$2" -o "$3" ;;
    esac
}

clip() { # VOICE NAME LEVEL_DB TEXT…: the texts, with 1.2 s of silence between them
    voice=$1 name=$2 level=$3 parts= number=0
    shift 3
    for text; do
        number=$((number + 1))
        synthesize "$voice" "$text" "$tmp/raw.wav"
        # The edges are where the voice begins and ends, without a click; silences inside last 0.1 s at most, so
        # that no pause is there but those that are meant.
        sox "$tmp/raw.wav" -r 8000 -b 16 -c 1 "$tmp/part-$number.wav" norm -3 \
            silence -l 1 0.01 0.5% -1 0.1 2% \
            silence 1 0.01 0.5% fade t 0.005 reverse silence 1 0.01 0.5% fade t 0.005 reverse
        parts="$parts ${parts:+$tmp/pause.wav} $tmp/part-$number.wav"
    done
    # shellcheck disable=SC2086 # a list of files without blanks
    sox -R -D $parts -b 16 "$voice/$name.flac" gain -n "$level"
    said=$(printf '%s … ' "$@")
    printf '[[clip]]\nfile = "%s.flac"\nkind = "%s"\nsays = "%s"\n\n' "$name" "${name%-*}" "${said% … }" >> "$voice/clips.toml"
}

sox -D -n -r 8000 -b 16 -c 1 "$tmp/pause.wav" trim 0 1.2
for voice in slt rms espeak; do
    mkdir -p "$voice"
    rm -f "$voice/clips.toml"
    clip "$voice" question-1 -6 "Hello there, could you please tell me what you can do for me?"
    clip "$voice" question-2 -6 "What would you recommend for a rainy afternoon?"
    clip "$voice" open-1 -6 "Please tell me a long story about the sea."
    clip "$voice" open-2 -6 "Could you explain to me how an aeroplane stays up in the air?"
    clip "$voice" open-3 -6 "Describe your favourite city to me, from the morning to the evening."
    clip "$voice" pause-1 -6 "I have been thinking about my holidays, and maybe" "we could take the night train to the sea."
    clip "$voice" pause-2 -6 "My telephone number at work is" "just a moment, I have it written down here."
    clip "$voice" story -6 "Yesterday I went to the market, and it was raining the whole time. I bought some apples \
and a piece of cheese, and when I came home I found that I had lost my keys on the way."
    clip "$voice" interruption-1 -6 "Wait, wait, please stop. I would like to ask you something else instead."
    clip "$voice" interruption-2 -6 "Hold on a moment, please. That is not what I wanted to know from you."
    clip "$voice" aside -16 "No, put it over there on the table, please. I will be with you in a minute."
done
# Short, as they are: who stops for what lasts 0.3 s must not stop for these.
for voice in slt rms espeak; do
    clip "$voice" backchannel-1 -10 "uh huh"
    clip "$voice" backchannel-2 -10 "right"
    for number in 1 2; do
        sox -R -D "$voice/backchannel-$number.flac" "$tmp/short.flac" tempo -s "$(soxi -D "$voice/backchannel-$number.flac" |
            awk '{ print $1 / 0.22 < 1 ? 1 : $1 / 0.22 }')"
        mv "$tmp/short.flac" "$voice/backchannel-$number.flac"
    done
done
